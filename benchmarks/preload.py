"""All of the library that a measurement may use: families import lazily, and a first use must not be measured."""

from quickstudy.registry import HOMES, fill
from quickstudy.training import meta_train

__all__ = ["meta_train"]

for kind in HOMES:
    fill(kind)
