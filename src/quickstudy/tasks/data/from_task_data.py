"""Support and query drawn from the rows of given tasks: an assay's compounds, a person's ratings, a station's days.

The ways to choose a support are those of benchmarks with given tasks: a support with the task's own share of each class
(Stanley et al. 2021, "FS-Mol: A Few-Shot Learning Dataset of Molecules", section 4), as many rows of each class, rows
as they come, or the earliest rows with later ones as the query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.datasets.task_data import TaskData
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.numbers import whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.data.few_shot import Range, parse_range
from quickstudy.tasks.plans import refused_asked, refused_rows, refused_values
from quickstudy.tasks.rows import Augment, RowTasks, check_augment, examples

Support = Literal["balanced", "stratified", "as-is", "by-time"]
TooFew = Literal["error", "leave out"]


@register("tasks")
class FromTaskData(RowTasks):
    """Tasks of `TaskData`: each draw is one of the tasks, all equally often, with another support and query.

    No item is in both support and query of a draw. Where tasks have fewer rows than are asked for, rows are padded and
    `Examples.mask` is False there; so it is for queries of a class that the support does not show.

    Args:
        data: items and tasks. Where targets are class numbers, a class keeps its number in all tasks, and the number of
            ways is `data.ways`.
        shots: support rows, in all; for 'balanced' those of each class. A range (low, high) is drawn for each task; a
            task with too few rows for a draw takes what it has, but one row for the query.
        queries: query rows, in all, drawn uniformly from the rows that the support leaves; fewer where fewer are left.
        support: how the support is chosen: 'as-is' uniformly, 'balanced' with `shots` rows of every class, 'stratified'
            with the task's share of each class (to within one row, largest remainders first), 'by-time' the earliest
            rows (of equal times, those that the data name first). 'balanced' and 'stratified' need class numbers,
            'by-time' needs `data.times`.
        seed: the stream's seed.
        too_few: what becomes of tasks that cannot fill the smallest support and leave a query row: 'error' names one,
            'leave out' leaves them out and tells their number (`left_out`).
        augment: changes inputs, given (T, S, ...) and keys (T,); applied to support and query alike.

    Raises:
        InputError: data are no `TaskData` or have no task, a task has too few rows, or data lack the classes or times
            that are needed.
    """

    data: TaskData

    def __init__(
        self,
        data: TaskData,
        shots: Range = 5,
        queries: int = 15,
        support: Support = "as-is",
        seed: int = 0,
        too_few: TooFew = "error",
        augment: Augment | None = None,
    ) -> None:
        if not isinstance(data, TaskData):
            raise InputError(
                f"data must be TaskData, not {type(data).__name__}; for classes of items use tasks.FewShot"
            )
        if not len(data):
            raise InputError(f"the data '{data.name}' have no task; split them into fewer parts")
        super().__init__(data, seed)
        for name, value, known in (("support", support, Support), ("too_few", too_few, TooFew)):
            if value not in get_args(known):
                raise unknown_name(name, str(value), get_args(known))
        queries = whole("queries", queries, 1, max(len(data.rows), 1000))
        if support in ("balanced", "stratified") and data.ways is None:
            raise InputError(
                f"support='{support}' needs class numbers, and targets are numbers; use 'as-is' or 'by-time'"
            )
        if support == "by-time" and data.times is None:
            raise InputError("support='by-time' needs data that know their times (TaskData(..., times=...))")
        self.shots, self.queries, self.support, self.augment = (
            parse_range("shots", shots),
            queries,
            support,
            check_augment(augment),
        )
        self.metric = "mse" if data.ways is None else "accuracy"
        self._prepare()
        enough = self._enough()
        self.left_out = int((~enough).sum())
        if self.left_out and (too_few == "error" or self.left_out == len(data)):
            raise InputError(self._lack(int((~enough).nonzero()[0])))
        self._usable = enough.nonzero().squeeze(1)
        fewest = int(self._sizes[self._usable].min())
        most = self.shots[1] * (self._ways if support == "balanced" else 1)
        # Whether rows of support and query may be padding.
        self._padded = (
            self.shots[0] < self.shots[1],
            fewest < most + self.queries or (data.ways is not None and support != "balanced"),
        )

    def _prepare(self) -> None:
        """Order the rows of each task as supports are chosen from it, and count its classes."""
        data = self.data
        task, self._sizes, self._starts = data.task_of_rows, data.sizes, data.starts
        self._rows, self._targets, self._ways = data.rows, data.targets, data.ways or 1
        labels = data.targets if data.ways is not None else torch.zeros_like(data.rows)
        keys = {"balanced": labels, "stratified": labels, "by-time": data.times}
        by = keys.get(self.support)
        order = torch.arange(len(task), device=task.device) if by is None else torch.argsort(by, stable=True)
        # (E,) rows of the data, task after task, within a task by class or by time.
        self._order = order if by is None else order[torch.argsort(task[order], stable=True)]
        cells = torch.bincount(task * self._ways + labels, minlength=len(data) * self._ways)
        # (T, N) rows of each class.
        self._counts = cells.view(len(data), self._ways)

    def _enough(self) -> Tensor:
        """Return (T,) whether each task can fill the smallest support and leave something to ask."""
        low, data = self.shots[0], self.data
        if self.support == "balanced":
            return (self._counts.amin(1) >= low) & (self._sizes > low * self._ways)
        enough = self._sizes > low
        if self.support == "stratified":
            quota = stratified(self._counts, torch.full_like(self._sizes, low))
            return enough & ((quota > 0) | (self._counts == 0)).all(1)
        if self.support == "by-time" and data.ways is not None:
            places = torch.arange(len(data.rows), device=data.rows.device) - self._starts[data.task_of_rows]
            cells = data.task_of_rows * self._ways + data.targets[self._order]
            first = torch.bincount(cells[places < low], minlength=self._counts.numel()).view_as(self._counts)
            return enough & ((first > 0) & (self._counts > first)).any(1)
        return enough

    def _lack(self, task: int) -> str:
        data, low = self.data, self.shots[0]
        counts = (
            ""
            if data.ways is None
            else f" ({', '.join(f'{n} of class {c}' for c, n in enumerate(self._counts[task]))})"
        )
        needs = {
            "balanced": f"{low} of each class, and one more for the query",
            "stratified": f"{low} with its share of each class, at least one of each, and one more for the query",
            "by-time": f"{low}, and a later one of a class among them" if data.ways else f"{low}, and a later one",
        }.get(self.support, f"{low}, and one more for the query")
        return (
            f"task '{data.names[task]}' has {int(self._sizes[task])} rows{counts}, but support='{self.support}' needs "
            f"{needs}; so it is with {self.left_out} of {len(data)} tasks. Ask for fewer shots, or leave such tasks "
            "out with too_few='leave out'"
        )

    def plan(self, indices: Tensor) -> Plan:
        """Return the task (T,), and rows of the data of the support (T, S) and the query (T, Q), -1 for padding."""
        keys = self.keys(indices)
        task = self._usable[random.below(random.fold_in(keys, 1), len(self._usable))]
        low, high = self.shots
        shots = low + random.below(random.fold_in(keys, 2), high - low + 1)
        places = self._support(task, shots, random.fold_in(keys, 3))
        size, taken = self._sizes[task], (places >= 0).sum(1)
        ranks = random.choose(random.fold_in(keys, 4), size - taken, self.queries)
        # The r-th place that the support leaves is r plus the number of its places that are not above it.
        ordered = torch.where(places < 0, torch.iinfo(torch.int64).max // 2, places).sort(1).values
        free = ordered - torch.arange(places.shape[1], device=places.device)
        asked = torch.where(ranks < 0, -1, ranks + torch.searchsorted(free, ranks.contiguous(), right=True))
        support, query = (self._lines(task, each) for each in (places, asked))
        if self.data.ways is not None and self.support != "balanced":
            shown = torch.zeros(len(task), self._ways + 1, dtype=torch.bool, device=task.device)
            shown.scatter_(1, torch.where(support < 0, self._ways, self._targets[support]), True)
            query = torch.where(shown.gather(1, self._targets[query]), query, -1)
        return {"task": task, "support": support, "query": query}

    def _lines(self, task: Tensor, places: Tensor) -> Tensor:
        """Return rows of the data of places within tasks, -1 for none."""
        lines = self._order[self._starts[task].unsqueeze(1) + places.clamp_min(0)]
        return torch.where(places < 0, -1, lines)

    def _support(self, task: Tensor, shots: Tensor, keys: Tensor) -> Tensor:
        """Return places (T, S) of the support within the tasks, -1 for padding."""
        high, counts = self.shots[1], self._counts[task]
        size = self._sizes[task]
        columns = torch.arange(high, device=task.device)
        if self.support in ("as-is", "by-time"):
            shots = torch.minimum(shots, size - 1).unsqueeze(1)
            places = random.choose(keys, size, high) if self.support == "as-is" else columns.expand(len(task), -1)
            return torch.where(columns < shots, places, -1)
        class_keys = random.fold_in(keys.unsqueeze(1), torch.arange(self._ways, device=task.device))
        drawn = random.choose(class_keys, counts, high)
        begin = (counts.cumsum(1) - counts).unsqueeze(2)
        if self.support == "balanced":
            # The largest class keeps a row for the query.
            quota = torch.minimum(shots, (counts.amax(1) - 1).clamp_min(self.shots[0])).unsqueeze(1).expand_as(counts)
        else:
            quota = stratified(counts, torch.minimum(shots, size - 1))
        places = torch.where((drawn >= 0) & (columns < quota.unsqueeze(2)), begin + drawn, -1)
        # Shot by shot, so that any leading part of the rows is balanced.
        places = places.mT.flatten(1)
        if self.support == "balanced":
            return places
        return places.gather(1, (places < 0).long().argsort(dim=1, stable=True)[:, :high])

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such tasks, or None."""
        task, support, query = plan["task"], plan["support"], plan["query"]
        reason = refused_values({"task": task}, 0, len(self.data) - 1) or refused_rows(
            {"support": support, "query": query}, len(self._rows)
        )
        if reason is not None:
            return reason
        for name, lines in (("support", support), ("query", query)):
            owner = self.data.task_of_rows[lines.clamp_min(0)]
            if bool(((lines >= 0) & (owner != task.unsqueeze(1))).any()):
                return f"rows of the {name} are another task's"
        # Where targets are numbers, all rows are alike.
        kinds = self._targets if self.data.ways is not None else torch.zeros_like(self._rows)
        shown, asked = (torch.where(lines < 0, -1, kinds[lines.clamp_min(0)]) for lines in (support, query))
        return refused_asked(shown, asked, self._ways)

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        return Task(*(self._examples(plan[name], part) for part, name in enumerate(("support", "query"))))

    def _examples(self, lines: Tensor, part: int) -> Examples:
        real = lines >= 0
        rows = torch.where(real, self._rows[lines.clamp_min(0)], -1)
        # Padding repeats a real row, and its target.
        targets = self._targets[torch.where(real, lines, lines.amax(1, keepdim=True)).clamp_min(0)]
        return examples(self, rows, targets, self.data.ways, self._padded[part], self.augment, part)

    def embedded(self, plan: Plan, embed: Callable[[Any], Tensor]) -> tuple[Self, Plan] | None:
        """Return these tasks with features as inputs (see `RowTasks`)."""
        lines = torch.cat([plan[name].flatten() for name in ("support", "query")])
        wanted = torch.where(lines < 0, -1, self._rows[lines.clamp_min(0)])
        found = None if self.augment is not None else self._featured(wanted, embed)
        if found is None:
            return None
        tasks, places = found
        tasks._rows = places[self._rows]
        return tasks, plan

    def to(self, device: torch.device | str) -> Self:
        """Move the data and the tables to a device."""
        for name in ("_sizes", "_starts", "_rows", "_targets", "_order", "_counts", "_usable"):
            setattr(self, name, getattr(self, name).to(device))
        return super().to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the tasks: meta-training and held-out tasks must not share one."""
        return self.data.names

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {
            **super().describe(),
            "from": len(self._usable),
            "left_out": self.left_out,
            "ways": self.data.ways,
            "shots": list(self.shots),
            "queries": self.queries,
            "support": self.support,
        }


def stratified(counts: Tensor, rows: Tensor) -> Tensor:
    """Return how many of so many rows (T,) each class gets by its share of counts (T, N): (T, N), largest remainders
    first, and of equal ones that of the lower class."""
    size = counts.sum(1, keepdim=True).clamp_min(1)
    exact = rows.unsqueeze(1) * counts
    quota, rest = exact // size, exact % size
    rank: Tensor = rest.argsort(dim=1, descending=True, stable=True).argsort(1)
    return quota + (rank < (rows - quota.sum(1)).unsqueeze(1)).long()
