"""One-shot tasks whose support is from one source and whose query is from another (Lake et al. 2015).

The Omniglot challenge: 20 characters of one alphabet, drawn once each by one person, are to be recognised in the
drawings of another person (Lake, Salakhutdinov & Tenenbaum 2019, "The Omniglot challenge: a 3-year progress report").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.data.few_shot import Range, parse_range
from quickstudy.tasks.plans import refused_asked, refused_labels, refused_rows
from quickstudy.tasks.rows import Augment, DataTasks, check_augment, examples


@register("tasks")
class SourcePairs(DataTasks):
    """N classes of one group, one support row each from one source and one query row each from another.

    A task's group and both its sources are drawn first, then classes that both sources have in that group. Where these
    are fewer than N, rows are padded and `Examples.mask` is False there.

    Args:
        data: examples grouped by class, which know their sources.
        ways: classes a task; of a range (low, high), groups and pairs of sources with at least `low` classes are used,
            and as many of them as there are up to `high`.
        seed: the stream's seed.
        within: the attribute whose values are groups, such as 'alphabet'. A source is the same within a group.
        augment: changes inputs, given (T, S, ...) and keys (T,); support and query get different ones.

    Raises:
        InputError: data without sources, an unknown attribute, or no pair of sources that shares so many classes.
    """

    def __init__(
        self,
        data: ClassData,
        ways: Range = 20,
        seed: int = 0,
        within: str = "alphabet",
        augment: Augment | None = None,
    ) -> None:
        super().__init__(data, seed)
        if data.source is None:
            raise InputError("tasks of pairs of sources need data that know their sources (ClassData.source)")
        self.ways, self.within, self.augment = parse_range("ways", ways), within, check_augment(augment)
        rows = data.rows_by_source
        groups = list(data.groups(within).values())
        members = torch.full((len(groups), max(map(len, groups))), -1)
        for i, group in enumerate(groups):
            members[i, : len(group)] = torch.tensor(group)
        has = (rows[members.clamp_min(0)] >= 0) & (members >= 0).unsqueeze(-1)
        both = torch.einsum("gms,gmq->gsq", has.float(), has.float())
        both.diagonal(dim1=1, dim2=2).zero_()
        pairs = (both >= self.ways[0]).nonzero()
        if not len(pairs):
            raise InputError(
                f"ways={ways}: no two sources share more than {int(both.max())} classes of one '{within}'; ask for "
                "fewer"
            )
        # Every group counts alike, and within it every pair of sources.
        usable = torch.unique(pairs[:, 0])
        self._group_pairs = torch.zeros(len(usable), int(torch.bincount(pairs[:, 0]).max()), 3, dtype=torch.long)
        self._group_sizes = torch.zeros(len(usable), dtype=torch.long)
        for i, group in enumerate(usable):
            own = pairs[pairs[:, 0] == group]
            self._group_pairs[i, : len(own)], self._group_sizes[i] = own, len(own)
        self._rows, self._members = rows, members

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers (T, N) of the support and of the query, -1 for padding."""
        keys = self.keys(indices)
        group = random.below(random.fold_in(keys, 1), len(self._group_sizes))
        pair = random.below(random.fold_in(keys, 2), self._group_sizes[group])
        number, one, other = self._group_pairs[group, pair].unbind(1)
        members = self._members[number]
        safe = members.clamp_min(0)
        support, query = self._rows[safe, one.unsqueeze(1)], self._rows[safe, other.unsqueeze(1)]
        usable = (members >= 0) & (support >= 0) & (query >= 0)
        scores = random.uniform(random.fold_in(keys, 3), members.shape[1], dtype=torch.float64)
        n = min(self.ways[1], members.shape[1])
        best, picked = torch.where(usable, scores, -1.0).topk(n, 1)
        plan = {"support": support.gather(1, picked), "query": query.gather(1, picked)}
        missing = torch.full((len(keys), self.ways[1] - n), -1, device=keys.device)
        return {name: torch.cat([torch.where(best < 0, -1, rows), missing], 1) for name, rows in plan.items()}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such tasks, or None."""
        reason = refused_rows(plan, len(self.data))
        if reason is not None:
            return reason
        rows = torch.stack([plan["support"], plan["query"]], 1)
        columns = torch.arange(rows.shape[2], device=rows.device).expand_as(rows)
        classes = torch.where(rows < 0, -1, self.data.labels[rows.clamp_min(0)])
        labels = torch.where(rows < 0, -1, columns)
        reason = refused_labels(columns, classes) or refused_asked(labels[:, 0], labels[:, 1], self.ways[1])
        if reason is not None or self.data.source is None:
            return reason
        sources = torch.where(rows < 0, -1, self.data.source[rows.clamp_min(0)])
        one, other = (torch.where(each < 0, each.amax(1, keepdim=True), each) for each in sources.unbind(1))
        if bool((one != one[:, :1]).any() | (other != other[:, :1]).any() | (one == other).any()):
            return "the support of a task is from several sources, or from that of its query"
        return None

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        labels = torch.arange(self.ways[1], device=plan["support"].device).expand_as(plan["support"])
        parts = [
            examples(self, plan[name], labels, self.ways[1], self.ways[0] < self.ways[1], self.augment, i)
            for i, name in enumerate(("support", "query"))
        ]
        return Task(*parts)

    def to(self, device: torch.device | str) -> SourcePairs:
        """Move the data and the tables to a device."""
        for name in ("_rows", "_members", "_group_pairs", "_group_sizes"):
            setattr(self, name, getattr(self, name).to(device))
        return super().to(device)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "ways": list(self.ways), "shots": [1, 1], "queries": 1, "within": self.within}
