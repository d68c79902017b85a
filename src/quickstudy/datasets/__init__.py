"""Data sets: each loader returns `ClassData`, examples in memory grouped by class.

Where files are looked for is described in `quickstudy.datasets.files`.
"""

from __future__ import annotations

from quickstudy.datasets.base import ClassData, with_rotations
from quickstudy.datasets.glyphs import glyphs
from quickstudy.datasets.omniglot import omniglot, omniglot_vinyals

__all__ = ["ClassData", "glyphs", "omniglot", "omniglot_vinyals", "with_rotations"]
