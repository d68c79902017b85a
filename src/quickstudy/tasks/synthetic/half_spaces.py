"""Classification by half-spaces that resemble each other: what a learned prior can know of new tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution


@register("tasks")
class HalfSpaces(TaskDistribution):
    """Two classes: label 1 where w x > 0, with x ~ N(0, I) and w ~ N(e, spread^2 I / D), e = (1, ..., 1) / sqrt(D).

    Args:
        dimensions: D.
        rows: support rows m.
        queries: query rows.
        spread: of tasks about e.
        flips: share of labels that are wrong, in support and query.
        tasks: how many different tasks there are; the stream repeats them. None for no end.
        seed: the stream's seed.

    Raises:
        InputError: a number out of range.
    """

    name = "half-spaces"

    def __init__(
        self,
        dimensions: int = 4,
        rows: int = 100,
        queries: int = 100,
        spread: float = 0.3,
        flips: float = 0.0,
        tasks: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if min(dimensions, rows, queries, 1 if tasks is None else tasks) < 1 or spread < 0 or not 0 <= flips < 0.5:
            raise InputError(
                f"{dimensions=}, {rows=}, {queries=} and {tasks=} must be at least 1, {spread=} 0 or more, and "
                f"{flips=} less than a half"
            )
        self.dimensions, self.rows, self.queries = dimensions, rows, queries
        self.spread, self.flips, self.tasks = spread, flips, tasks

    def plan(self, indices: Tensor) -> Plan:
        """Draw weights, inputs and which labels are wrong."""
        keys, d = self.keys(indices if self.tasks is None else indices % self.tasks), self.dimensions
        own = self.spread * random.normal(random.fold_in(keys, 1), d)
        return {
            "w": (1 + own) / d**0.5,
            "x": random.normal(random.fold_in(keys, 2), self.rows + self.queries, d),
            "wrong": random.uniform(random.fold_in(keys, 3), self.rows + self.queries) < self.flips,
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, D) and labels (T, S)."""
        x, k = plan["x"], self.rows
        labels = ((torch.einsum("tsd,td->ts", x, plan["w"]) > 0) ^ plan["wrong"]).long()
        support = Examples(x[:, :k], labels[:, :k], ways=2, check=False)
        return Task(support, Examples(x[:, k:], labels[:, k:], ways=2, check=False))

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        names = ("dimensions", "rows", "queries", "spread", "flips", "tasks")
        return {**super().describe(), **{name: getattr(self, name) for name in names}, "ways": 2}
