"""HOW meta-knowledge is updated: outer optimisers."""

from quickstudy.outer.base import Outer
from quickstudy.outer.cma_es import CMAES
from quickstudy.outer.evolution import EvolutionStrategies
from quickstudy.outer.gradient import Gradient
from quickstudy.outer.pes import PES
from quickstudy.outer.policy_gradient import PolicyGradient
from quickstudy.outer.reptile import Reptile
from quickstudy.outer.truncated import Truncated

__all__ = [
    "CMAES",
    "PES",
    "EvolutionStrategies",
    "Gradient",
    "Outer",
    "PolicyGradient",
    "Reptile",
    "Truncated",
]
