"""Outer optimisers that judge whole sets of parameters by their losses alone, and differentiate nothing.

All P candidates meet the same T tasks with the same keys (common random numbers), so that they differ by nothing but
their parameters. Processes that train together all make the same candidates, each judges them on its own tasks, and
what they exchange is losses (P, T): the step is that of one process with all tasks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.outer.base import Outer, first_order, trainable


class Population(Outer):
    """Base of outer optimisers that judge candidates. Arguments as for `outer.Outer`."""

    candidates: int
    """P, once `prepare` has been called."""

    def as_trained(self, learner: Learner) -> Learner:
        """Return the learner with no gradient passing through its steps: none is needed."""
        return first_order(learner)

    def evaluations(self, tasks: int) -> int:
        """Return the losses that an outer step finds: those of all candidates."""
        return self.candidates * tasks

    def judge(self, meta_loss: MetaLoss, rows: Tensor, tasks: Task, keys: Tensor) -> Tensor:
        """Return the (P, T) losses of candidates (P, D) on the tasks of all processes, infinite in place of NaN."""
        named, start = {}, 0
        for name, value in trainable(meta_loss.learner).items():
            part = rows[:, start : start + value.numel()]
            named[name] = part.reshape(len(rows), *value.shape).to(value.dtype)
            start += value.numel()
        found = meta_loss.population(named, tasks, keys)
        found = meta_loss.ranks.gather(found.t().contiguous()).t()
        return found.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)


def flat(learner: Learner) -> Tensor:
    """Return the parameters that are learned, end to end (D,)."""
    return torch.cat([value.detach().flatten() for value in trainable(learner).values()])


def add_gradient(learner: Learner, gradient: Tensor) -> None:
    """Add a gradient (D,) to the `.grad` of the parameters that are learned."""
    parameters = list(trainable(learner).values())
    parts = torch.split(gradient, [value.numel() for value in parameters])
    for value, part in zip(parameters, parts, strict=True):
        own = part.reshape(value.shape).to(value.device, value.dtype)
        value.grad = own if value.grad is None else value.grad + own


def combined(meta_loss: MetaLoss, found: Tensor) -> Tensor:
    """Return what the losses (P, T) of each candidate become (P,)."""
    each: Tensor = batching.map_tasks(meta_loss.combine, found)
    return each.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)


def typical(found: Tensor) -> Tensor:
    """Return the losses (T,) of the candidate in the middle, task by task: a few that diverged do not show."""
    return found.median(0).values
