"""HOW meta-knowledge is updated: outer optimisers."""

from quickstudy.outer.base import Outer
from quickstudy.outer.gradient import Gradient
from quickstudy.outer.pes import PES
from quickstudy.outer.reptile import Reptile
from quickstudy.outer.truncated import Truncated

__all__ = ["PES", "Gradient", "Outer", "Reptile", "Truncated"]
