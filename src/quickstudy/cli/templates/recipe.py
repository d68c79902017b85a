"""noisy-lines, a recipe in one file. Change what it trains, then try it:

quickstudy train noisy-lines --import noisy_lines.py --help
quickstudy train noisy-lines --import noisy_lines.py --shots 3
quickstudy report runs/noisy-lines --import noisy_lines.py
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import manual_seed

import quickstudy as qs
from quickstudy.recipes.base import Recipe, RecipeParts, recipe


@recipe("noisy-lines", learner="MAML")
@dataclass
class NoisyLines(Recipe):
    """MAML on straight lines from few noisy points."""

    shots: int = 5
    """Number of points to learn a line from."""
    inner_lr: float = 0.05
    """Learning rate of the inner loop."""
    steps: int = 500

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""

        def tasks(seed: int) -> qs.tasks.Linear:
            return qs.tasks.Linear(shots=self.shots, queries=10, seed=seed)

        manual_seed(self.seed)  # the initial weights
        return RecipeParts(
            learner=qs.learners.MAML(qs.nets.mlp(1, outputs=1), lr=self.inner_lr),
            train=tasks(self.seed),
            validation=tasks(self.seed + 1),
            test=tasks(self.seed + 2),
            outer=qs.outer.Gradient(lr=1e-3),
        )
