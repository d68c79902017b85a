"""Data sets: each loader returns `ClassData`, examples in memory grouped by class.

Where files are looked for is described in `quickstudy.datasets.files`.
"""

from __future__ import annotations

from quickstudy.datasets.arrays import arrays, dataset, frame
from quickstudy.datasets.base import ClassData, with_rotations
from quickstudy.datasets.combining import with_combinations
from quickstudy.datasets.cub import cub
from quickstudy.datasets.digits import double_mnist, double_mnist_split, triple_mnist, triple_mnist_split
from quickstudy.datasets.glyphs import glyphs
from quickstudy.datasets.images import images
from quickstudy.datasets.joining import join
from quickstudy.datasets.mini_imagenet import mini_imagenet
from quickstudy.datasets.omniglot import omniglot, omniglot_vinyals
from quickstudy.datasets.orbit import orbit
from quickstudy.datasets.pascal5i import pascal5i
from quickstudy.datasets.tables import table

__all__ = [
    "ClassData",
    "arrays",
    "cub",
    "dataset",
    "double_mnist",
    "double_mnist_split",
    "frame",
    "glyphs",
    "images",
    "join",
    "mini_imagenet",
    "omniglot",
    "omniglot_vinyals",
    "orbit",
    "pascal5i",
    "table",
    "triple_mnist",
    "triple_mnist_split",
    "with_combinations",
    "with_rotations",
]
