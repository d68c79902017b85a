"""Sequential episodes: examples arrive one by one, each label one step late (Santoro et al. 2016, section 4).

The examples of N classes come in random order; the learner names each before its label is shown. Labels are dealt
anew in every episode, so a class can only be named once it has been met, and the measure is the accuracy at its 1st,
2nd, ... presentation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.plans import refused_labels, refused_rows, refused_values
from quickstudy.tasks.rows import Augment, DataTasks, check_augment, examples


@register("tasks")
class Sequential(DataTasks):
    """Streams of N classes with so many presentations of each, in random order.

    A task's support and query are the same L = N x presentations rows: what is judged is the prediction of each row
    from those before it (`batching.stream`), so training uses the objective 'sequence'.

    Args:
        data: examples grouped by class.
        ways: classes a sequence (N).
        presentations: distinct examples of each class; classes that have fewer take no part.
        seed: the stream's seed.
        augment: changes inputs, given (T, L, ...) and keys (T,).

    Raises:
        InputError: too few classes with enough examples.
    """

    sequential = True

    def __init__(
        self, data: ClassData, ways: int = 5, presentations: int = 10, seed: int = 0, augment: Augment | None = None
    ) -> None:
        super().__init__(data, seed)
        ways, presentations = whole("ways", ways), whole("presentations", presentations)
        self._usable = (data.counts >= presentations).nonzero().squeeze(1)
        if len(self._usable) < ways:
            raise InputError(
                f"ways={ways} but {len(self._usable)} of {len(data.classes)} classes have the {presentations} examples "
                "that presentations asks for; ask for fewer ways or presentations"
            )
        self.ways, self.presentations, self.augment = ways, presentations, check_augment(augment)

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers (T, L) and labels (T, L)."""
        keys = self.keys(indices)
        n, p = self.ways, self.presentations
        starts, counts = self.data.starts.to(keys.device), self.data.counts.to(keys.device)
        classes = self._usable.to(keys.device)[random.choose(random.fold_in(keys, 1), len(self._usable), n)]
        class_keys = random.fold_in(random.fold_in(keys, 2).unsqueeze(1), torch.arange(n, device=keys.device))
        rows = starts[classes].unsqueeze(-1) + random.choose(class_keys, counts[classes], p)
        order = random.permutation(random.fold_in(keys, 3), n * p)
        return {"rows": rows.flatten(1).gather(1, order), "labels": order // p}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such sequences, or None."""
        rows, labels = plan["rows"], plan["labels"]
        return (
            refused_rows({"sequence": rows}, len(self.data), padded=False)
            or refused_values({"labels": labels}, 0, self.ways - 1)
            or refused_labels(labels, self.data.labels[rows])
        )

    def gather(self, plan: Plan) -> Task:
        """Return the sequences of a plan."""
        rows = examples(self.data, plan["rows"], plan["labels"], self.ways, padded=False, augment=self.augment)
        return Task(rows, rows)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        facts = {"classes": len(self._usable), "ways": [self.ways, self.ways], "presentations": self.presentations}
        return {**super().describe(), **facts}
