"""Recipes of model-based learners on glyphs, and of the in-context learner on linear regression.

Labels are dealt anew in every task, so these learners can only be trained with as many ways as they are tested with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed

from quickstudy import learners, nets, outer
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.nets.plastic import TraceRule
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.recipes.few_shot import FewShotRecipe
from quickstudy.tasks.synthetic.linear_regression import LinearRegression


@recipe("glyphs-incontext", learner="InContext", paper="Kirsch et al. 2022")
@dataclass
class GlyphsInContext(FewShotRecipe):
    """In-context learner on glyphs."""

    width: int = 128
    """Numbers per token."""
    depth: int = 3
    """Number of layers."""
    labels: Literal["learned", "random"] = "learned"
    """Label tokens: 'learned', or drawn for each task ('random')."""
    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return an in-context learner."""
        return learners.InContext(
            self.net(), self.ways, width=self.width, depth=self.depth, labels=self.labels, batch_norm=self.batch_norm
        )


@recipe("glyphs-hypernetwork", learner="HyperNetwork", paper="Ha et al. 2016")
@dataclass
class GlyphsHyperNetwork(FewShotRecipe):
    """Hypernetwork learner on glyphs: the support becomes a linear classifier."""

    width: int = 256
    """Width of the net that reads the support."""
    rank: int = 0
    """Rank of the generated matrices; 0 generates them whole."""
    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return a hypernetwork learner."""
        return learners.HyperNetwork(
            self.net(), self.ways, width=self.width, rank=self.rank or None, batch_norm=self.batch_norm
        )


@recipe("glyphs-snail", learner="SNAIL", paper="Mishra et al. 2018")
@dataclass
class GlyphsSNAIL(FewShotRecipe):
    """SNAIL on glyphs."""

    filters: int = 64
    """Filters of the temporal convolutions (128 in the paper)."""
    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return a SNAIL."""
        length = self.ways * self.shots + 1
        return learners.SNAIL(self.net(), self.ways, filters=self.filters, length=length, batch_norm=self.batch_norm)


@recipe("glyphs-metanet", learner="MetaNet", paper="Munkhdalai & Yu 2017")
@dataclass
class GlyphsMetaNet(FewShotRecipe):
    """Meta network on glyphs."""

    width: int = 64
    """Width of the base learner's hidden layer and of the representation."""
    lr: float = 1e-3
    clip: float = 10.0

    def make_learner(self, train: ClassData) -> Learner:
        """Return a meta network."""
        return learners.MetaNet(self.net(), self.ways, width=self.width, batch_norm=self.batch_norm)


@recipe("glyphs-plastic", learner="Plastic", paper="Miconi et al. 2018")
@dataclass
class GlyphsPlastic(FewShotRecipe):
    """Plastic network on glyphs, with a Hebbian, Oja's or a neuromodulated rule."""

    rule: Literal["hebbian", "oja", "neuromodulated", "retroactive"] = "hebbian"
    """Rule by which the traces change."""
    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return a plastic network."""
        net = self.net()
        size: int = net.features  # type: ignore[assignment]
        rules: dict[str, TraceRule] = {
            "hebbian": nets.Hebbian(),
            "oja": nets.Oja(),
            "neuromodulated": nets.Neuromodulated(size, self.ways),
            "retroactive": nets.Neuromodulated(size, self.ways, retroactive=True),
        }
        return learners.Plastic(net, self.ways, rule=rules[self.rule], batch_norm=self.batch_norm)


@recipe("linear-incontext", learner="InContext", paper="Garg et al. 2022")
@dataclass
class LinearInContext(Recipe):
    """In-context learner on linear regression, whose best predictor is a ridge regression."""

    dimensions: int = 4
    """Numbers per input."""
    train_shots: tuple[int, int] = (1, 16)
    """Range of the number of support rows in meta-training."""
    shots: int = 8
    """Support rows in validation and test."""
    queries: int = 16
    """Query rows per task."""
    noise: float = 0.5
    """Standard deviation of the noise on support targets."""
    width: int = 64
    """Numbers per token."""
    depth: int = 4
    """Number of layers."""
    lr: float = 1e-3
    """Outer learning rate, for Adam."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 5000
    meta_batch: int = 64

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)

        def tasks(shots: int | tuple[int, int], seed: int) -> LinearRegression:
            return LinearRegression(self.dimensions, shots, self.queries, self.noise, seed)

        return RecipeParts(
            learner=learners.InContext(None, 1, self.dimensions, self.width, self.depth),
            train=tasks(self.train_shots, self.seed),
            validation=tasks(self.shots, self.seed + 1),
            test=tasks(self.shots, self.seed + 2),
            outer=outer.Gradient(lr=self.lr, clip=1.0, schedule=self.schedule),
        )
