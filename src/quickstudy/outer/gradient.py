"""The meta-gradient by back-propagation through the learner."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from quickstudy.batching import TaskLosses
from quickstudy.core import Learner, Task
from quickstudy.outer.base import Outer, Schedule
from quickstudy.ranks import ALONE, Ranks
from quickstudy.registry import register


@register("outer", how="gradient of the objective through adaptation")
class Gradient(Outer):
    """Gradient of the mean objective over the meta-batch.

    How it passes through an inner loop (second order, first order, implicit) is the learner's part.
    Arguments as for `outer.Outer`.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "adam",
        clip: float | None = None,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        schedule: Schedule = "constant",
        halve_every: int = 2000,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(lr, optimizer, clip, weight_decay, momentum, schedule, halve_every, factors)

    def estimate(self, losses: TaskLosses, learner: Learner, tasks: Task, keys: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """Back-propagate the mean loss."""
        return ranks.share(learner.parameters(), losses.backward(learner, tasks, keys))
