"""The tasks of the stream that a process takes at each step, drawn for many steps at once."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Task
from quickstudy.engine import sizes
from quickstudy.engine.ranks import Ranks
from quickstudy.tasks.base import TaskDistribution

MOST_AHEAD = 100
"""Steps whose tasks are drawn at once, where they are small: drawing costs about as much for one as for a hundred."""


class Batches:
    """The meta-batches of one process: tasks of the stream that no other process takes.

    Args:
        tasks: the stream.
        meta_batch: T, tasks of a step.
        ranks: the processes.
        dtype: of the learner.
    """

    def __init__(self, tasks: TaskDistribution, meta_batch: int, ranks: Ranks, dtype: torch.dtype) -> None:
        self.tasks, self.meta_batch, self.ranks, self.dtype = tasks, meta_batch, ranks, dtype
        self.ahead = max(1, min(MOST_AHEAD, sizes.drawing(tasks) // meta_batch)) if tasks.uniform else 1
        self._drawn: Task | None = None
        self._first = 0

    def indices(self, step: int) -> Tensor:
        """Return the numbers (T,) of the tasks of a step."""
        start = (step * self.ranks.size + self.ranks.rank) * self.meta_batch
        return torch.arange(start, start + self.meta_batch)

    def at(self, step: int) -> Task:
        """Return the tasks of a step."""
        within = step % self.ahead
        first = step - within
        if self._drawn is None or self._first != first:
            indices = torch.cat([self.indices(each) for each in range(first, first + self.ahead)])
            self._drawn, self._first = batching.to_dtype(self.tasks.draw(indices), self.dtype), first
        part = slice(within * self.meta_batch, (within + 1) * self.meta_batch)
        return batching.select(self._drawn, part)  # type: ignore[no-any-return]
