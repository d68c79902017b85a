"""Recipes of learners that read a stream into a memory or a hidden state (Santoro et al. 2016).

Five classes per sequence, ten presentations of each, sixteen sequences per outer step, as in the paper. Departures:
drawings are embedded by a Conv4 net in place of 20x20 raw pixels, and Adam takes the place of RMSprop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy import learners
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import SequentialRecipe


@dataclass
class MemoryRecipe(SequentialRecipe):
    """A cell that reads embedded drawings."""

    controller: int = 200
    """Width of the controller, or of the hidden state."""


@recipe("glyphs-mann", learner="MANN", paper="Santoro et al. 2016")
@dataclass
class GlyphsMANN(MemoryRecipe):
    """Memory-augmented network on sequences of glyphs."""

    slots: int = 128
    """Number of memory slots."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return a MANN."""
        return learners.MANN(
            self.embedding(train), self.ways, hidden=self.controller, slots=self.slots, batch_norm=self.batch_norm
        )


@recipe("glyphs-dnc", learner="DNC", paper="Graves et al. 2016")
@dataclass
class GlyphsDNC(MemoryRecipe):
    """Differentiable neural computer on sequences of glyphs."""

    slots: int = 64
    """Number of memory slots."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return a DNC."""
        sizes = {"hidden": self.controller, "slots": self.slots}
        return learners.DNC(self.embedding(train), self.ways, **sizes, batch_norm=self.batch_norm)


@recipe("glyphs-lstm", learner="RecurrentLearner", paper="Hochreiter et al. 2001")
@dataclass
class GlyphsRecurrent(MemoryRecipe):
    """LSTM or GRU on sequences of glyphs."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell: 'lstm' or 'gru'."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return a recurrent learner."""
        return learners.RecurrentLearner(
            self.embedding(train), self.ways, cell=self.cell, hidden=self.controller, batch_norm=self.batch_norm
        )
