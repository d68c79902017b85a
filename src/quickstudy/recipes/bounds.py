"""Recipe of a prior that is learned by the error which it guarantees on new tasks (docs/studies/bounds.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy import learners, objectives, outer
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.half_spaces import HalfSpaces


@recipe("half-spaces-pac-bayes", learner="GibbsClassifier", paper="Amit & Meir 2018")
@dataclass
class HalfSpacesPACBayes(Recipe):
    """Stochastic linear classifier on half-spaces, by a PAC-Bayes bound."""

    tasks: int = 1024
    """Number of tasks to learn from."""
    dimensions: int = 4
    """Numbers per input."""
    rows: int = 400
    """Support rows per task."""
    spread: float = 0.3
    """Spread of the tasks: how much they differ."""
    bound: Literal["amit-meir", "pacoh"] = "amit-meir"
    """Bound that is minimised: 'amit-meir' or 'pacoh'."""
    delta: float = 0.05
    """Probability that the bound does not hold."""
    lr: float = 0.05
    """Outer learning rate, for Adam."""
    steps: int = 100
    meta_batch: int = 64

    def drawn(self, seed: int, tasks: int | None = None) -> HalfSpaces:
        """Return tasks."""
        return HalfSpaces(self.dimensions, self.rows, spread=self.spread, tasks=tasks, seed=seed)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        return RecipeParts(
            learner=learners.GibbsClassifier(None, 2, self.dimensions),
            train=self.drawn(self.seed, self.tasks),
            validation=self.drawn(self.seed + 1),
            test=self.drawn(self.seed + 2),
            outer=outer.Gradient(lr=self.lr, schedule="cosine"),
            options={"objective": objectives.PACBayes(self.tasks, self.delta, self.bound)},
        )
