"""Recipes of the metric learners, on glyphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy import learners
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import FewShotRecipe


@recipe("glyphs-protonet", learner="ProtoNet", paper="Snell et al. 2017")
@dataclass
class GlyphsProtoNet(FewShotRecipe):
    """Prototypical network on glyphs."""

    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance to the prototypes."""
    train_ways: int = 20

    def make_learner(self, train: ClassData) -> Learner:
        """Return a prototypical network."""
        return learners.ProtoNet(self.net(), self.distance, self.batch_norm)


@recipe("glyphs-siamese", learner="Siamese", paper="Hadsell et al. 2006; Koch et al. 2015")
@dataclass
class GlyphsSiamese(FewShotRecipe):
    """Siamese network with contrastive or triplet loss on glyphs."""

    objective: Literal["contrastive", "triplet"] = "triplet"
    """Loss: of pairs ('contrastive') or of triplets ('triplet')."""
    margin: float = 0.5
    """Margin of the contrastive or triplet loss."""
    train_ways: int = 20

    def make_learner(self, train: ClassData) -> Learner:
        """Return a Siamese network."""
        return learners.Siamese(self.net(), self.objective, self.margin, batch_norm=self.batch_norm)


@recipe("glyphs-matching", learner="MatchingNet", paper="Vinyals et al. 2016")
@dataclass
class GlyphsMatchingNet(FewShotRecipe):
    """Matching network on glyphs, with or without full-context embeddings."""

    full_context: bool = False
    """Embed every row in the context of the whole support."""
    train_ways: int = 20

    def make_learner(self, train: ClassData) -> Learner:
        """Return a matching network."""
        return learners.MatchingNet(self.net(), self.full_context, batch_norm=self.batch_norm)


@recipe("glyphs-relation", learner="RelationNet", paper="Sung et al. 2018")
@dataclass
class GlyphsRelationNet(FewShotRecipe):
    """Relation network on glyphs."""

    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return a relation network."""
        maps = self.net(flatten=False, halvings=2)
        return learners.RelationNet(maps, channels=self.hidden, batch_norm=self.batch_norm)
