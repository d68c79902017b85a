"""Recipes of learned optimisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed, nn

from quickstudy import learners, objectives, outer, rules
from quickstudy.nets.optimizees import perceptron, small_conv
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.problems.budgets import Budgets
from quickstudy.tasks.problems.convex import LogisticRegression
from quickstudy.tasks.problems.fitting import Fitting
from quickstudy.tasks.problems.optimizer_problems import Part, digits
from quickstudy.tasks.synthetic.imitation import Imitation


@recipe("learned-optimizer", learner="L2O", paper="Metz et al. 2020")
@dataclass
class LearnedOptimizer(Recipe):
    """The optimiser that comes with the library: an MLP rule, meta-trained by PES to fit small problems well."""

    hidden: int = 4
    """Width of the rule's network for parameters."""
    width: int = 8
    """Width of the rule's network for tensors."""
    fewest: int = 20
    """Least number of steps in which a problem is to be solved."""
    most: int = 500
    """Largest number of steps in which a problem is to be solved; numbers are drawn log-uniformly from the least up."""
    told: float = 0.5
    """Share of problems whose number of steps the rule is told."""
    batch: int = 32
    """Rows per step."""
    length: int = 20
    """Steps per segment."""
    sigma: float = 0.02
    """Standard deviation of perturbations."""
    lr: float = 1.5e-4
    """Outer learning rate, for Adam."""
    schedule: Schedule = "linear"
    """Schedule of the outer learning rate."""
    compile: bool | Literal["record"] | None = False
    """Compile a whole outer step (True), or only record it ('record'); None chooses. Recording so many kinds of
    problems takes minutes."""
    steps: int = 2000
    meta_batch: int = 32

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        learner = learners.L2O(rules.MLPRule(self.hidden, self.width), self.most, self.batch, told=self.told)
        return RecipeParts(
            learner,
            self.problems("train"),
            None,
            self.problems("test"),
            outer.PES(self.length, self.sigma, lr=self.lr, clip=1.0, schedule=self.schedule),
            {"objective": objectives.AnnealedSteps(0.05, objectives.LogLoss(1e-5))},
        )

    def problems(self, part: Part) -> TaskDistribution:
        """Return problems that are judged by the rows that are fitted."""
        numbers = digits(part)
        kinds: list[TaskDistribution] = [
            LogisticRegression(20, 5, 256, None, conditioning=(1, 10), sharpness=(1, 10), start_scale=(0.1, 3)),
            Imitation(perceptron(16, (32,), 1, "tanh"), 16, rows=512),
            Imitation(perceptron(8, (64, 64), 1), 8, rows=512),
            Imitation(perceptron(20, (128,), 5), 20, 5, classify=True, rows=1024),
            Imitation(perceptron(10, (16, 16, 16), 3, "gelu"), 10, 3, classify=True, rows=512),
            Imitation(perceptron(12, (32,) * 6, 4), 12, 4, classify=True, rows=1024, sharpness=(3, 10)),
            Imitation(perceptron(64, (96,), 10), 64, 10, classify=True, rows=1024, sharpness=(5, 30)),
            Imitation(perceptron(64, (40,) * 3, 10, "tanh"), 64, 10, classify=True, rows=1024, sharpness=(5, 30)),
        ]
        nets = [
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
            perceptron(64, (16, 16, 16, 16), 10, "elu"),
            small_conv(1, 8, (6, 10), 10),
        ]
        kinds += [
            Fitting(net, numbers, (64, 256), None, ways=10, input_scale=(0.3, 3), start_scale=(0.7, 1.4))
            for net in nets
        ]
        return Budgets(Mixture(kinds, "blocked", self.meta_batch, self.seed), (self.fewest, self.most))
