"""One task again and again: tune a learner to the problem at hand rather than to many.

What is meta-learned (rates, an initialisation, a loss, regularisation) is then chosen by the query of this one problem,
as hyper-parameters are by a validation set: the bilevel problem of gradient-based hyper-parameter search (Franceschi et
al. 2018, "Bilevel Programming for Hyperparameter Optimization and Meta-Learning", section 2).
"""

from __future__ import annotations

import hashlib
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.plans import refused_values


@register("tasks")
class OneTask(TaskDistribution):
    """A stream each of whose tasks is the same one. Only keys differ, of learners that draw random numbers.

    Args:
        task: the task, not batched, or its support.
        query: of the task, where `task` is a support.
        name: how results name it.
        seed: the stream's seed.

    Raises:
        InputError: a support without a query, or a task with one more.
    """

    def __init__(
        self, task: Task | Examples, query: Examples | None = None, name: str = "one task", seed: int = 0
    ) -> None:
        super().__init__(seed)
        if isinstance(task, Task) == (query is not None) or not isinstance(task, (Task, Examples)):
            raise InputError("give a task, OneTask(task), or its support and query, OneTask(support, query)")
        self.task = task if isinstance(task, Task) else Task(task, query)  # type: ignore[arg-type]
        self.name = name
        labels = self.task.query.labels
        self.metric = "mse" if labels.is_floating_point() else "accuracy" if labels.ndim == 1 else "iou"

    def plan(self, indices: Tensor) -> Plan:
        """Return that it is task 0 (T,), each time."""
        return {"task": torch.zeros_like(indices)}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan is not of this task, or None."""
        return refused_values({"task": plan["task"]}, 0, 0)

    def gather(self, plan: Plan) -> Task:
        """Return the task T times: views, not copies."""
        count = len(plan["task"])

        def repeated(leaf: Tensor) -> Tensor:
            return leaf.expand(count, *leaf.shape)

        return trees.map_leaves(repeated, self.task)  # type: ignore[no-any-return]

    def to(self, device: torch.device | str) -> Self:
        """Move the task to a device."""
        self.task = trees.map_leaves(lambda leaf: leaf.to(device), self.task)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Short hash of all that the task holds."""
        digest = hashlib.sha256()
        for leaf in trees.leaves(self.task):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}\0".encode())
            digest.update(leaf.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Return facts about the task."""
        rows = {"support": len(self.task.support), "queries": len(self.task.query)}
        return {**super().describe(), **rows, "ways": self.task.support.ways}

    def __repr__(self) -> str:
        return f"OneTask(support={len(self.task.support)}, queries={len(self.task.query)})"
