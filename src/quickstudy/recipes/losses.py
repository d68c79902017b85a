"""A recipe of a learned loss (ML3, Bechtle et al. 2021, section 4): sinusoids, a share of whose targets may be wrong.

Departures: what descends is a linear layer on sines and cosines, which learns within a few steps of gradient descent
where the paper's net takes hundreds; wrong targets are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, manual_seed

from quickstudy import learners, nets, outer
from quickstudy.core import Examples, Task
from quickstudy.functional import random
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.base import Plan
from quickstudy.tasks.synthetic.functions import Sinusoid


class WrongTargets(Sinusoid):
    """Sinusoids whose support has wrong targets among the right ones, drawn anew between -10 and 10.

    Args:
        share: of wrong ones.
        count: frequencies K; inputs are (S, 2 K), see `waves`.
        shots: support points.
        queries: query points, all of them right.
        seed: the stream's seed.
    """

    def __init__(self, share: float, count: int, shots: int, queries: int, seed: int) -> None:
        super().__init__(shots, queries, seed=seed)
        self.share, self.count = share, count

    def plan(self, indices: Tensor) -> Plan:
        """Return the sinusoids' plan, which targets are wrong, and what they are."""
        keys = random.fold_in(self.keys(indices), 5)
        wrong = random.uniform(random.fold_in(keys, 1), self.most) < self.share
        other = 20 * random.uniform(random.fold_in(keys, 2), self.most) - 10
        return {**super().plan(indices), "wrong": wrong, "other": other}

    def gather(self, plan: Plan) -> Task:
        """Return the tasks."""
        task, wrong, other = super().gather(plan), plan["wrong"].unsqueeze(-1), plan["other"].unsqueeze(-1)
        labels = torch.where(wrong, other, task.support.labels)
        support, query = (waves(rows.inputs, self.count) for rows in (task.support, task.query))
        return Task(Examples(support, labels, check=False), Examples(query, task.query.labels, check=False))


def waves(x: Tensor, count: int) -> Tensor:
    """Return sines and cosines (S, 2 K) of x (S, 1) in [-5, 5] at the first K frequencies."""
    phases = x * torch.arange(1, count + 1, device=x.device, dtype=x.dtype) * math.pi / 10
    return torch.cat([phases.sin(), phases.cos()], -1)


@recipe("sinusoid-ml3", learner="LearnedLoss", paper="Bechtle et al. 2021")
@dataclass
class SinusoidML3(Recipe):
    """A learned loss on sinusoids."""

    wrong: float = 0.3
    """Share of wrong targets in the support."""
    shots: int = 20
    """Support points, and query points of meta-training tasks; test tasks have 100 query points."""
    waves: int = 8
    """Number of frequencies whose sine and cosine are features."""
    inner_lr: float = 0.1
    """Inner learning rate."""
    inner_steps: int = 20
    """Number of inner steps, in training and test."""
    lr: float = 0.01
    """Outer learning rate, for Adam."""
    clip: float = 0.1
    """Largest norm of the meta-gradient. With 1, one of three beginnings ends in a loss that is flat on one side."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    compile: bool | Literal["record"] | None = "record"
    """Compile a whole outer step (True), or only record it ('record'); None chooses."""
    steps: int = 250
    meta_batch: int = 8

    def make_learner(self) -> learners.LearnedLoss:
        """Return the learner."""
        return learners.LearnedLoss(nets.mlp(2 * self.waves, (), 1), lr=self.inner_lr, steps=self.inner_steps)

    def tasks(self, queries: int, seed: int) -> WrongTargets:
        """Return tasks."""
        return WrongTargets(self.wrong, self.waves, self.shots, queries, seed)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        return RecipeParts(
            self.make_learner(),
            self.tasks(self.shots, self.seed),
            None,
            self.tasks(100, self.seed + 1),
            outer.Gradient(lr=self.lr, clip=self.clip, schedule=self.schedule),
            {"objective": "InnerSteps"},
        )
