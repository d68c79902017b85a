"""Recipes of tasks from several unlike families (Vuorio et al. 2019, table 2): sinusoids and lines, noise 0.3, 5 steps.

The numbers are those of the authors' code, from which the paper's figures are. Of 10 samples of a function, 5 are the
support and 5 the query, both noisy; the sinusoids are a sin(x - phi); the net has three hidden layers of 100, learned
in 70,000 outer steps of 50 tasks. Departures: about a ninth of the tasks, at a larger outer rate that falls to zero; 20
queries in meta-training; PyTorch's initial weights; MAML without the 20 learned inputs that the authors add to x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed

from quickstudy import learners, nets, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.functions import MultiModal


@dataclass
class ModesRecipe(Recipe):
    """Regression of functions from two families."""

    modes: tuple[str, ...] = ("sine", "linear")
    """Families of functions (`tasks.MultiModal`); 'sine' is the sinusoid of the authors' code, 'sinusoid' that of their
    text."""
    shots: int = 5
    """Support points per task."""
    queries: int = 20
    """Query points per meta-training task; validation and test tasks have 100."""
    noise: float = 0.3
    """Standard deviation of the noise on all targets."""
    hidden: tuple[int, ...] = (100, 100, 100)
    """Width of each hidden layer."""
    inner_lr: float = 1e-3
    """Inner learning rate."""
    inner_steps: int = 5
    """Number of inner steps, in training and test."""
    lr: float = 2e-3
    """Outer learning rate, for Adam."""
    clip: float = 2.0
    """Largest norm of the meta-gradient."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 16000
    meta_batch: int = 25
    compile: bool | Literal["record"] | None = True

    def make_learner(self) -> Learner:
        """Return the learner."""
        raise NotImplementedError

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)

        def tasks(queries: int, seed: int) -> MultiModal:
            return MultiModal(self.modes, self.shots, queries, self.noise, seed)

        return RecipeParts(
            learner=self.make_learner(),
            train=tasks(self.queries, self.seed),
            validation=tasks(100, self.seed + 1),
            test=tasks(100, self.seed + 2),
            outer=outer.Gradient(lr=self.lr, clip=self.clip, schedule=self.schedule),
            options={"chunk": self.meta_batch},
        )


@recipe("two-modes-maml", learner="MAML", paper="Vuorio et al. 2019")
@dataclass
class TwoModesMAML(ModesRecipe):
    """MAML on sinusoids and lines: one start for both."""

    def make_learner(self) -> Learner:
        """Return MAML."""
        return learners.MAML(nets.mlp(1, self.hidden, outputs=1), self.inner_lr, self.inner_steps)


@recipe("two-modes-mmaml", learner="MMAML", paper="Vuorio et al. 2019")
@dataclass
class TwoModesMMAML(ModesRecipe):
    """MMAML on sinusoids and lines."""

    width: int = 128
    """Width of the task encoder's hidden layers."""

    def make_learner(self) -> Learner:
        """Return MMAML."""
        net = nets.modulated_mlp(1, self.hidden, outputs=1)
        return learners.MMAML(net, features=1, width=self.width, lr=self.inner_lr, steps=self.inner_steps, clip=10.0)
