"""Meta-Dataset's tasks of variable ways and shots, as a task distribution (Triantafillou et al. 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.datasets.base import ClassData
from quickstudy.functional.numbers import whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.data.meta_dataset import LEAST_WAYS, MOST_QUERIES, MOST_SUPPORT, MOST_WAYS, sample_episode
from quickstudy.tasks.plans import refused_asked, refused_labels, refused_rows
from quickstudy.tasks.rows import DataTasks, examples


@register("tasks")
class MetaDataset(DataTasks):
    """5 to 50 ways, shots that differ from class to class, at most 500 support rows and 10 queries a class.

    Rows are padded to the largest task that the data allow, with `Examples.mask` False in padding.

    Args:
        data: examples grouped by class.
        within: draw the classes of a task from one value of this attribute (alphabets for Omniglot).
        seed: the stream's seed.

    Raises:
        InputError: fewer than 5 classes, a class with fewer than 2 examples, or an unknown attribute.
    """

    def __init__(self, data: ClassData, within: str | None = None, seed: int = 0) -> None:
        super().__init__(data, seed)
        whole("seed", self.seed, 0)  # NumPy's generators take no negative ones
        self.within = within
        self._groups: list[list[int]] | None = None
        if within is not None:
            self._groups = [group for group in data.groups(within).values() if len(group) >= LEAST_WAYS]
        self._counts, self._starts = data.counts.cpu().numpy(), data.starts.cpu().numpy()
        sample_episode(self._counts, np.random.default_rng(0), self._groups)  # refuses what cannot be sampled
        self.most_ways = min(MOST_WAYS, len(data.classes))
        self.most_support = min(MOST_SUPPORT, len(data))

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers and labels of support (T, S) and query (T, Q), -1 for padding."""
        sizes = {"support": self.most_support, "query": self.most_ways * MOST_QUERIES}
        plan = {
            f"{part}.{what}": torch.full((len(indices), size), -1 if what == "rows" else 0)
            for part, size in sizes.items()
            for what in ("rows", "labels")
        }
        for task, index in enumerate(indices.tolist()):
            generator = np.random.default_rng([self.seed, index])
            shape = sample_episode(self._counts, generator, self._groups)
            filled = dict.fromkeys(sizes, 0)
            for label, (c, shots) in enumerate(zip(shape.classes, shape.shots, strict=True)):
                picked = generator.choice(self._counts[c], shots + shape.queries, replace=False) + self._starts[c]
                for part, rows in (("support", picked[:shots]), ("query", picked[shots:])):
                    where = slice(filled[part], filled[part] + len(rows))
                    plan[f"{part}.rows"][task, where] = torch.from_numpy(rows)
                    plan[f"{part}.labels"][task, where] = label
                    filled[part] += len(rows)
        return {name: value.to(self.device) for name, value in plan.items()}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such tasks, or None."""
        rows = {part: plan[f"{part}.rows"] for part in ("support", "query")}
        reason = refused_rows(rows, len(self.data))
        if reason is not None:
            return reason
        every = torch.cat([*rows.values()], 1)
        labels = torch.cat([plan[f"{part}.labels"] for part in rows], 1)
        classes = torch.where(every < 0, -1, self.data.labels[every.clamp_min(0)])
        marked, shots = torch.where(every < 0, -1, labels), rows["support"].shape[1]
        shown, asked = marked[:, :shots], marked[:, shots:]
        return refused_labels(labels, classes) or refused_asked(shown, asked, self.most_ways)

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        parts = [
            examples(self.data, plan[f"{part}.rows"], plan[f"{part}.labels"], self.most_ways, padded=True)
            for part in ("support", "query")
        ]
        return Task(*parts)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "within": self.within}
