"""Recipes of model-based learners on glyphs and Omniglot, and of the in-context learner on linear regression.

Labels are dealt anew in every task, so these learners can only be trained with as many ways as they are tested with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed

from quickstudy import learners, outer
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Plan, Recipe
from quickstudy.recipes.few_shot import FewShotRecipe
from quickstudy.registry import register
from quickstudy.tasks.linear_regression import LinearRegression


@register("recipe", "glyphs-incontext", paper="Kirsch et al. 2022")
@dataclass
class GlyphsInContext(FewShotRecipe):
    """In-context learner on glyphs."""

    width: int = 128
    """Numbers of a token."""
    depth: int = 3
    """Layers."""
    labels: Literal["learned", "random"] = "learned"
    """Label tokens: learned, or drawn for each task."""
    lr: float = 1e-3

    def make_learner(self, train: ClassData) -> Learner:
        """Return an in-context learner."""
        return learners.InContext(
            self.net(), self.ways, width=self.width, depth=self.depth, labels=self.labels, batch_norm=self.batch_norm
        )


@register("recipe", "omniglot-incontext", paper="Kirsch et al. 2022")
@dataclass
class OmniglotInContext(GlyphsInContext):
    """In-context learner on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "linear-incontext", paper="Garg et al. 2022")
@dataclass
class LinearInContext(Recipe):
    """In-context learner on linear regression, whose best predictor is a ridge regression."""

    dimensions: int = 4
    """Of the inputs."""
    train_shots: tuple[int, int] = (1, 16)
    """Range of the number of support rows in meta-training."""
    shots: int = 8
    """Support rows in validation and test."""
    queries: int = 16
    """Query rows."""
    noise: float = 0.5
    """Standard deviation of the noise on support targets."""
    width: int = 64
    """Numbers of a token."""
    depth: int = 4
    """Layers."""
    lr: float = 1e-3
    """Outer learning rate (Adam)."""
    schedule: Schedule = "cosine"
    """Of the outer learning rate."""
    steps: int = 5000
    meta_batch: int = 64
    compile: bool = True

    def plan(self) -> Plan:
        """Return the objects that these options describe."""
        manual_seed(self.seed)

        def tasks(shots: int | tuple[int, int], seed: int) -> LinearRegression:
            return LinearRegression(self.dimensions, shots, self.queries, self.noise, seed)

        return Plan(
            learner=learners.InContext(None, 1, self.dimensions, self.width, self.depth),
            train=tasks(self.train_shots, self.seed),
            validation=tasks(self.shots, self.seed + 1),
            test=tasks(self.shots, self.seed + 2),
            outer=outer.Gradient(lr=self.lr, clip=1.0, schedule=self.schedule),
        )
