"""N-way K-shot classification tasks from data grouped by class (Vinyals et al. 2016, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import whole, whole_range
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.plans import refused_asked, refused_labels, refused_rows, refused_values
from quickstudy.tasks.rows import Augment, DataTasks, check_augment, examples

Range = int | tuple[int, int]


def parse_range(name: str, value: Range) -> tuple[int, int]:
    """Return the ends of a number or a range of positive numbers, or raise InputError."""
    return whole_range(name, value)


@register("tasks")
class FewShot(DataTasks):
    """Episodes of N classes with K support rows each and queries of the same classes.

    Rows are drawn by indexing tensors on the device; the cost does not grow with the number of images. Where ways,
    shots or the examples of a class vary, rows are padded and `Examples.mask` is False there.

    Args:
        data: examples grouped by class.
        ways: classes a task, a number or a range (low, high) drawn uniformly for each task; 'all' takes every class
            of the group (needs `within`).
        shots: support rows a class, a number or a range drawn for each task.
        queries: query rows a class; fewer where a class has fewer examples left (at least 1).
        seed: the stream's seed.
        within: draw the classes of a task from one value of this attribute, such as 'alphabet'.
        disjoint_sources: support and query of a task come from different sources (drawers, faces). Where classes are
            from few of the sources, one that lacks either side in a task is padding there.
        augment: changes inputs, given (T, S, ...) and keys (T,); applied to support and query alike.

    Raises:
        InputError: too few classes or examples for the ways and shots asked, or an unknown attribute.
    """

    def __init__(
        self,
        data: ClassData,
        ways: Range | str = 5,
        shots: Range = 1,
        queries: int = 15,
        seed: int = 0,
        within: str | None = None,
        disjoint_sources: bool = False,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(data, seed)
        self.queries = queries = whole("queries", queries, 1, max(len(data), 1000))
        self.within, self.augment, self.disjoint_sources = within, check_augment(augment), disjoint_sources
        groups = [list(range(len(data.classes)))] if within is None else list(data.groups(within).values())
        biggest = max(map(len, groups))
        if isinstance(ways, str):
            if ways != "all" or within is None:
                raise InputError(f"ways='{ways}': give a number, a range, or 'all' together with within=...")
            self.ways = (1, biggest)
        else:
            self.ways = parse_range("ways", ways)
        self._all = isinstance(ways, str)
        self.shots = parse_range("shots", shots)
        self._check_examples()
        # A group must be able to fill the smallest task; bigger tasks take what their group has.
        groups = [group for group in groups if len(group) >= self.ways[0]]
        if not groups or (within is None and biggest < self.ways[1]):
            where = f"the largest group of '{within}' has {biggest}" if within else f"the data have {biggest}"
            raise InputError(f"ways={ways} needs {self.ways[1]} classes but {where}; ask for fewer ways or add classes")
        self._sizes = torch.tensor([len(group) for group in groups])
        self._members = torch.full((len(groups), max(map(len, groups))), -1)
        for row, group in enumerate(groups):
            self._members[row, : len(group)] = torch.tensor(group)
        self._varies = self.ways[0] < self.ways[1] or self.shots[0] < self.shots[1]
        self._short = bool(data.counts.min() < self.shots[1] + queries)
        self._starts, self._counts = data.starts.cpu(), data.counts.cpu()
        if disjoint_sources:
            self._prepare_sources()

    def _check_examples(self) -> None:
        needed = self.shots[1] + 1
        fewest = int(self.data.counts.argmin())
        if int(self.data.counts[fewest]) < needed:
            raise InputError(
                f"class '{self.data.classes[fewest]}' has {int(self.data.counts[fewest])} examples but shots="
                f"{self.shots[1]} and a query need {needed}; ask for fewer shots or leave the class out (data.subset)"
            )

    def _prepare_sources(self) -> None:
        source = self.data.source
        if source is None:
            raise InputError("disjoint_sources needs data that know their sources (ClassData.source)")
        kinds, inverse = torch.unique(source.cpu(), return_inverse=True)
        width = int(self._counts.max())
        columns = torch.arange(width)
        rows = (self._starts.unsqueeze(1) + columns).clamp_max(len(self.data) - 1)
        # (C, width) the source of each example of each class, -1 where a class has no such example.
        self._sources = torch.where(columns < self._counts.unsqueeze(1), inverse[rows], -1)
        self._kinds = len(kinds)
        distinct = torch.stack([(self._sources == kind).any(1) for kind in range(len(kinds))]).sum(0)
        fewest = int(distinct.min())
        if fewest < 2:
            raise InputError(
                f"disjoint_sources: class '{self.data.classes[int(distinct.argmin())]}' is from {fewest} source, but "
                "support and query need one each; leave such classes out (data.subset)"
            )
        # So many sources for the support that every class has at least `shots` of them whichever are drawn, if the
        # query keeps enough; else half, and a class that lacks one side in a task is padding there.
        sure = self.shots[1] + len(kinds) - fewest
        self._support_sources = sure if sure < fewest else len(kinds) // 2
        self._varies = self._varies or sure >= fewest
        self._short = True

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers (T, K, N) of the support and (T, Q/N, N) of the query, -1 for padding."""
        keys = self.keys(indices)
        n, k = self.ways[1], self.shots[1]
        group = random.below(random.fold_in(keys, 1), len(self._sizes))
        sizes = self._sizes[group]
        slots = random.choose(random.fold_in(keys, 2), sizes, n)
        span = self.ways[1] - self.ways[0] + 1
        ways = sizes if self._all else self.ways[0] + random.below(random.fold_in(keys, 3), span)
        slots = torch.where(torch.arange(n, device=keys.device) < ways.unsqueeze(1), slots, -1)
        classes = torch.where(slots < 0, -1, self._members[group.unsqueeze(1), slots])
        class_keys = random.fold_in(random.fold_in(keys, 4).unsqueeze(1), torch.arange(n, device=keys.device))
        safe = classes.clamp_min(0)
        if self.disjoint_sources:
            support, query = self._disjoint(keys, class_keys, safe)
        else:
            picked = random.choose(class_keys, self._counts[safe], k + self.queries)
            support, query = picked[..., :k], picked[..., k:]
        shots = self.shots[0] + random.below(random.fold_in(keys, 5), self.shots[1] - self.shots[0] + 1)
        too_many = torch.arange(k, device=keys.device) >= shots.reshape(-1, 1, 1)
        absent = (classes < 0).unsqueeze(-1)
        starts = self._starts[safe].unsqueeze(-1)
        support = torch.where((support < 0) | too_many | absent, -1, starts + support)
        query = torch.where((query < 0) | absent, -1, starts + query)
        # Shot by shot, so that any leading part of the rows is balanced.
        return {"support": support.mT.contiguous(), "query": query.mT.contiguous()}

    def _disjoint(self, keys: Tensor, class_keys: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        order = random.permutation(random.fold_in(keys, 6), self._kinds)
        is_support = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : self._support_sources], True)
        sources = self._sources[classes]
        exists = sources >= 0
        side = is_support.unsqueeze(1).expand(-1, classes.shape[1], -1).gather(2, sources.clamp_min(0))
        scores = random.uniform(class_keys, sources.shape[-1], dtype=torch.float64)

        def take(allowed: Tensor, count: int) -> Tensor:
            ranked = torch.where(allowed, scores, -1.0)
            if ranked.shape[-1] < count:
                ranked = torch.nn.functional.pad(ranked, (0, count - ranked.shape[-1]), value=-1.0)
            best, picked = ranked.topk(count, -1)
            return torch.where(best < 0, -1, picked)

        support, query = take(exists & side, self.shots[1]), take(exists & ~side, self.queries)
        # A class that the support does not show cannot be asked for.
        return support, torch.where((support < 0).all(-1, keepdim=True), -1, query)

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such tasks, or None."""
        support, query = plan["support"], plan["query"]
        reason = refused_rows({"support": support, "query": query}, len(self.data))
        if reason is not None:
            return reason
        rows = torch.cat([support, query], 1)
        classes = torch.where(rows < 0, -1, self.data.labels[rows.clamp_min(0)])
        columns = torch.arange(rows.shape[2], device=rows.device).expand_as(rows)
        labels = torch.where(rows < 0, -1, columns)
        shown, asked = labels[:, : support.shape[1]], labels[:, support.shape[1] :]
        reason = refused_labels(columns, classes) or refused_asked(shown, asked, self.ways[1])
        if reason is None and not self.disjoint_sources:
            shots = (shown >= 0).sum(1)
            there = (shots > 0).sum(1)
            reason = refused_values({"ways": there}, *self.ways) or refused_values(
                {"shots": shots[shots > 0]}, *self.shots
            )
        return reason or self._refused_groups(classes, rows, support.shape[1])

    def _refused_groups(self, classes: Tensor, rows: Tensor, shots: int) -> str | None:
        """Return why classes of tasks are of no group, or support and query from no sources that are apart."""
        if self.within is not None:
            kinds = {value: number for number, value in enumerate(dict.fromkeys(self.data.attributes[self.within]))}
            group = torch.tensor([kinds[value] for value in self.data.attributes[self.within]], device=rows.device)
            found = torch.where(classes < 0, -1, group[classes.clamp_min(0)]).flatten(1)
            if bool(((found >= 0) & (found != found.amax(1, keepdim=True))).any()):
                return f"a task has classes of several values of '{self.within}'"
        if self.disjoint_sources and self.data.source is not None:
            _, kind = torch.unique(self.data.source, return_inverse=True)
            source = torch.where(rows < 0, -1, kind.to(rows.device)[rows.clamp_min(0)])
            for shown, asked in zip(source[:, :shots], source[:, shots:], strict=True):
                if bool(torch.isin(asked[asked >= 0], shown[shown >= 0]).any()):
                    return "a task has support and query rows from one source"
        return None

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        support = self._examples(plan["support"], 0, padded=self._varies)
        query = self._examples(plan["query"], 1, padded=self._varies or self._short)
        return Task(support, query)

    def _examples(self, rows: Tensor, part: int, padded: bool) -> Examples:
        tasks, shots, n = rows.shape
        labels = torch.arange(n, device=rows.device).expand(tasks, shots, n).reshape(tasks, -1)
        return examples(self, rows.reshape(tasks, -1), labels, n, padded, self.augment, part)

    def embedded(self, plan: Plan, embed: Callable[[Any], Tensor]) -> tuple[Self, Plan] | None:
        """Return these tasks with features as inputs (see `DataTasks`)."""
        return None if self.augment is not None else self._embedded(plan, ("support", "query"), embed)

    def to(self, device: torch.device | str) -> Self:
        """Move the data and the tables to a device."""
        for name in ("_sizes", "_members", "_starts", "_counts", "_sources"):
            if hasattr(self, name):
                setattr(self, name, getattr(self, name).to(device))
        return super().to(device)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {
            **super().describe(),
            "ways": "all" if self._all else list(self.ways),
            "shots": list(self.shots),
            "queries": self.queries,
            "within": self.within,
            "disjoint_sources": self.disjoint_sources,
        }

    def __repr__(self) -> str:
        facts = ", ".join(f"{key}={value}" for key, value in self.describe().items() if key != "tasks")
        return f"FewShot({facts})"
