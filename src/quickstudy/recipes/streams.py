"""Recipes of model-based learners on streams of drawings (Santoro et al. 2016), beside those of `memory.py`."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy import learners
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import SequentialRecipe


@recipe("glyphs-stream-snail", learner="SNAIL", paper="Mishra et al. 2018")
@dataclass
class GlyphsStreamSNAIL(SequentialRecipe):
    """SNAIL on streams of glyphs."""

    filters: int = 64
    """Filters of the temporal convolutions (128 in the paper)."""
    lr: float = 3e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return a SNAIL."""
        length = self.ways * self.presentations
        return learners.SNAIL(
            self.embedding(train), self.ways, filters=self.filters, length=length, batch_norm=self.batch_norm
        )


@recipe("glyphs-stream-metanet", learner="MetaNet", paper="Munkhdalai & Yu 2017")
@dataclass
class GlyphsStreamMetaNet(SequentialRecipe):
    """Meta network on streams of glyphs."""

    features: int = 32
    """Size of the embedding; the LSTM that makes fast weights reads features x width numbers per row."""
    width: int = 32
    """Width of the base learner's hidden layer and of the representation."""
    meta_batch: int = 8

    def make_learner(self, train: ClassData) -> Learner:
        """Return a meta network."""
        net = self.embedding(train, self.features)
        return learners.MetaNet(net, self.ways, width=self.width, batch_norm=self.batch_norm)


@recipe("glyphs-stream-plastic", learner="Plastic", paper="Miconi et al. 2018")
@dataclass
class GlyphsStreamPlastic(SequentialRecipe):
    """Plastic network on streams of glyphs."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return a plastic network."""
        return learners.Plastic(self.embedding(train), self.ways, batch_norm=self.batch_norm)


@recipe("glyphs-stream-incontext", learner="CausalInContext", paper="Kirsch et al. 2022")
@dataclass
class GlyphsStreamInContext(SequentialRecipe):
    """Causal in-context learner on streams of glyphs."""

    width: int = 128
    """Numbers per token."""
    depth: int = 3
    """Number of layers."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return a causal in-context learner."""
        return learners.CausalInContext(
            self.embedding(train), self.ways, width=self.width, depth=self.depth, batch_norm=self.batch_norm
        )
