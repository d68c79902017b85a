"""Reptile's outer rule (Nichol et al. 2018, algorithm 2): theta <- theta + lr mean_i (theta'_i - theta)."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.outer.base import Details, Outer, Schedule
from quickstudy.registry import register


@register("outer", how="towards the adapted parameters")
class Reptile(Outer):
    """Moves the initialisation towards what each task made of it; with `lr=1` it jumps to their mean.

    For learners whose inner loop starts from the learned parameters themselves. The difference theta - theta'_i
    stands in for the gradient, so momentum and Adam work on it too.

    Args:
        lr: outer step (epsilon in the paper), 1 falling linearly to 0 there.
        optimizer: 'sgd' as in the paper, 'adam', 'adamw' or 'muon'.
        clip: largest norm of the mean difference; None leaves it.
        schedule: of the step.
        details: keywords of `outer.Outer`.
    """

    def __init__(
        self,
        lr: float = 1.0,
        optimizer: str = "sgd",
        clip: float | None = None,
        schedule: Schedule = "linear",
        **details: Unpack[Details],
    ) -> None:
        super().__init__(lr, optimizer=optimizer, clip=clip, schedule=schedule, **details)

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need an inner loop that moves learned parameters."""
        name = type(learner).__name__
        if not hasattr(learner, "adapted"):
            return (
                f"Reptile's outer rule needs a learner with an inner loop (GradientLearner), not {name}; use "
                "outer.Gradient"
            )
        if not learner.ends_where_it_starts:
            return (
                f"{name} does not end with other values of the parameters that it starts from, so there is nothing to "
                "move towards; use outer.Gradient"
            )
        if not objective.learners_own:
            return (
                "Reptile's outer rule moves towards adapted parameters whatever the objective, so "
                f"{objective.name} would be without effect; use objective='query_loss', or outer.Gradient"
            )
        return None

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Set each adapted parameter's gradient to the mean of theta - theta'_i."""
        learner = meta_loss.learner
        reason = self.refuses(learner, meta_loss.objective)
        if reason is not None:
            raise InputError(reason)
        named = dict(learner.adapted.net.named_parameters())  # type: ignore[union-attr]
        total, values = len(keys), []
        size = meta_loss.size(tasks, total)
        with torch.no_grad():
            for part, part_keys in zip(batching.chunks(tasks, size), batching.chunks(keys, size), strict=True):
                states = batching.adapt(learner, part.support, part_keys)
                for name, value in states.theta.items():
                    gap = (named[name] - value).sum(0) / total
                    old = named[name].grad
                    named[name].grad = gap if old is None else old + gap
                values.append(batching.map_tasks(learner.loss, states, part.query))
        return meta_loss.share(torch.cat(values))
