"""Ordinary supervised batches, as tasks: what baselines are pretrained on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from quickstudy.core import Task
from quickstudy.datasets.base import ClassData
from quickstudy.functional import random
from quickstudy.functional.numbers import whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.plans import refused_rows
from quickstudy.tasks.rows import Augment, DataTasks, check_augment, examples


@register("tasks")
class Supervised(DataTasks):
    """Mini-batches with labels over ALL classes of the data: 'few-shot learning without meta-learning'.

    A batch is a task whose support and query are the same rows. Train a baseline on it (`FineTune`,
    `BaselinePlusPlus`), whose objective classifies the query by the pretrained head.

    Args:
        data: examples grouped by class.
        batch: rows a mini-batch.
        seed: the stream's seed.
        augment: changes inputs, given (T, B, ...) and keys (T,).

    Raises:
        InputError: an empty batch, or what augments takes other arguments.
    """

    def __init__(self, data: ClassData, batch: int = 64, seed: int = 0, augment: Augment | None = None) -> None:
        super().__init__(data, seed)
        self.rows, self.augment = whole("batch", batch), check_augment(augment)

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers (T, batch)."""
        return {"rows": random.below(self.keys(indices), len(self.data), self.rows)}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such batches, or None. A row may come twice."""
        return refused_rows(plan, len(self.data), padded=False, distinct=False)

    def gather(self, plan: Plan) -> Task:
        """Return the batches."""
        labels = self.data.labels[plan["rows"]]
        rows = examples(self.data, plan["rows"], labels, len(self.data.classes), padded=False, augment=self.augment)
        return Task(rows, rows)

    def describe(self) -> dict[str, Any]:
        """Return facts about the batches."""
        return {**super().describe(), "batch": self.rows}
