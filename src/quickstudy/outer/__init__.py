"""HOW meta-knowledge is updated: outer optimisers."""

from quickstudy.outer.base import Outer
from quickstudy.outer.gradient import Gradient
from quickstudy.outer.reptile import Reptile

__all__ = ["Gradient", "Outer", "Reptile"]
