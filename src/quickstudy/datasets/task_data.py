"""Items that many tasks label, each in its own way: compounds and assays, films and people, days and stations.

Shapes: M items, T tasks, E rows of all tasks together, R rows of one task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from quickstudy.datasets.arrays import inputs_of, numbers
from quickstudy.datasets.base import bytes_of, hash_inputs
from quickstudy.datasets.splitting import chosen, divided
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.checks import check_tree, row_shapes
from quickstudy.operators import trees


class TaskData:
    """Items, and tasks that are lists of items with a target each.

    In `ClassData` each item has one class, and tasks are drawn by choosing classes. Here tasks are given: an item is in
    many of them, with another target in each. `tasks.FromTaskData` draws support and query from each task's rows.

    All tasks are kept end to end in four flat tensors, so thousands of tasks and millions of rows are no burden.

    Args:
        items: (M, ...) tensor or array, or a dict or tuple of them (a pytree) that share M, as `datasets.arrays` takes.
        tasks: by name, a pair (rows, targets): rows (R,) are numbers of items, none twice; targets are class numbers
            (R,), integers or Booleans, or numbers (R,) or (R, ...), floating. All tasks have targets of one kind.
        name: how results name the data.
        attributes: for each attribute (say 'year' or 'laboratory') its value for each task, in the order of the tasks.
        times: when each row was measured, for supports that are earlier than queries: (M,) for each item, or by task
            (R,) for each of its rows.

    Attributes:
        names: T names.
        rows: (E,) item of each row, task after task.
        targets: (E, ...) target of each row.
        sizes: (T,) rows of each task.
        times: (E,) time of each row, or None.
        ways: number of classes N, one more than the greatest class number; None where targets are numbers.

    Raises:
        InputError: there is no task, a task is empty, repeats an item or names one that does not exist, its rows and
            targets differ in number, a target is NaN, infinite or a negative class, or tasks differ in their kind.

    Examples:
        >>> data = TaskData(torch.randn(4, 2), {"ann": ([0, 1, 2], [1, 0, 1]), "bob": ([3, 2], [0, 0])})
        >>> data
        TaskData(tasks: 2 tasks, 5 rows of 4 items of shape (2,), 2 classes, attributes [])
    """

    items: Any
    names: tuple[str, ...]
    rows: Tensor
    targets: Tensor
    sizes: Tensor
    name: str
    attributes: Mapping[str, tuple[str, ...]]
    times: Tensor | None
    ways: int | None

    def __init__(
        self,
        items: Any,
        tasks: Mapping[str, tuple[Any, Any]],
        name: str = "tasks",
        attributes: Mapping[str, Sequence[str]] | None = None,
        times: Any = None,
    ) -> None:
        if not isinstance(tasks, Mapping) or not tasks:
            raise InputError("tasks must be a dict of at least one pair (rows, targets), by name")
        rows: list[Tensor] = []
        targets: list[Tensor] = []
        when: list[Tensor] = []
        for key, pair in tasks.items():
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InputError(f"task '{key}' must be a pair (rows, targets)")
            one, other = numbers(pair[0], f"rows of task '{key}'"), numbers(pair[1], f"targets of task '{key}'")
            if one.ndim != 1 or one.dtype == torch.bool or (one.dtype.is_floating_point and len(one)):
                raise InputError(f"rows of task '{key}' must be (R,) integers, not {tuple(one.shape)} of {one.dtype}")
            if other.ndim == 0 or len(other) != len(one):
                raise InputError(f"task '{key}' has {len(one)} rows and targets {tuple(other.shape)}; give one per row")
            if targets and other.shape[1:] != targets[0].shape[1:]:
                raise InputError(
                    f"a target of task '{key}' has shape {tuple(other.shape[1:])} and one of the first task "
                    f"{tuple(targets[0].shape[1:])}; all tasks need targets of one kind"
                )
            rows.append(one.long())
            targets.append(other)
            if isinstance(times, Mapping):
                when.append(_times_of(key, times, len(one)))
        if any(each.dtype.is_floating_point for each in targets):
            kind = next(each.dtype for each in targets if each.dtype.is_floating_point)
            targets = [each.to(kind) for each in targets]
        self._set(
            inputs_of(items, "items"),
            tuple(map(str, tasks)),
            torch.cat(rows),
            torch.cat([each if each.dtype.is_floating_point else each.long() for each in targets]),
            torch.tensor([len(each) for each in rows]),
            name,
            {key: tuple(map(str, values)) for key, values in (attributes or {}).items()},
            torch.cat(when) if when else None,
        )
        self.ways = (
            None if self.targets.dtype.is_floating_point else int(self.targets.max()) + 1 if len(self.targets) else 0
        )
        if times is not None and not isinstance(times, Mapping):
            of_items = _moments(times, "times")
            if of_items.shape != (self.count,):
                shape = tuple(of_items.shape)
                raise InputError(f"times must be ({self.count},), one per item, or a dict by task, not {shape}")
            self.times = of_items[self.rows.clamp(0, self.count - 1)]  # `_check` refuses rows out of range
        self._check()

    @classmethod
    def table(
        cls,
        items: Any,
        task: Any,
        rows: Any,
        targets: Any,
        name: str = "tasks",
        times: Any = None,
    ) -> Self:
        """Return data from a long table, one line per measurement: which task, which item, what target.

        Args:
            items: as of the class.
            task: (E,) task of each line, strings or integers; tasks are sorted, and named by these.
            rows: (E,) item of each line.
            targets: (E, ...) target of each line.
            name: as of the class.
            times: (E,) time of each line, or None.

        Raises:
            InputError: columns differ in length, there is no line, or a line has no task; and as of the class.
        """
        values, number = _numbered(task)
        order = torch.from_numpy(np.argsort(number, kind="stable"))
        cuts = torch.from_numpy(np.cumsum(np.bincount(number))[:-1])
        columns = {"rows": numbers(rows, "rows"), "targets": numbers(targets, "targets")}
        if times is not None:
            columns["times"] = _moments(times, "times")
        for what, column in columns.items():
            if column.shape[:1] != number.shape:
                raise InputError(f"{what} are {tuple(column.shape)}, for {len(number)} lines; give one per line")
        parts = {what: torch.tensor_split(column[order], cuts) for what, column in columns.items()}
        names = [str(value) for value in values]
        pairs = zip(parts["rows"], parts["targets"], strict=True)
        when = dict(zip(names, parts["times"], strict=True)) if times is not None else None
        return cls(items, dict(zip(names, pairs, strict=True)), name, times=when)

    def _set(
        self,
        items: Any,
        names: tuple[str, ...],
        rows: Tensor,
        targets: Tensor,
        sizes: Tensor,
        name: str,
        attributes: Mapping[str, tuple[str, ...]],
        times: Tensor | None,
    ) -> None:
        self.items, self.names, self.rows, self.targets, self.sizes = items, names, rows, targets, sizes
        self.name, self.attributes, self.times = name, attributes, times

    def _check(self) -> None:
        count = self.count
        for path, leaf in trees.named_leaves(self.items):
            if leaf.dtype.is_floating_point and not torch.isfinite(leaf).all():
                raise InputError(f"items{path} hold NaN or infinity; clean or drop such items")
        for key, values in self.attributes.items():
            if len(values) != len(self):
                raise InputError(f"attribute '{key}' has {len(values)} values for {len(self)} tasks")
        if len(set(self.names)) != len(self.names):
            raise InputError("names of tasks repeat; each task needs its own")
        if int(self.sizes.min()) == 0:
            raise InputError(f"task '{self.names[int(self.sizes.argmin())]}' has no rows; leave it out")
        self._refuse((self.rows < 0) | (self.rows >= count), f"names an item outside 0..{count - 1}")
        line, order = torch.sort(self.task_of_rows * count + self.rows)
        again = torch.zeros(len(line), dtype=torch.bool)
        again[order[1:]] = line[1:] == line[:-1]
        self._refuse(again, "has an item twice; keep one of its measurements, or their mean")
        if self.targets.dtype.is_floating_point:
            self._refuse(
                ~torch.isfinite(self.targets.reshape(len(self.targets), -1)).all(1),
                "has a target that is NaN or infinite",
            )
        elif self.targets.ndim > 1:
            raise InputError(
                f"class numbers must be one per row, not {tuple(self.targets.shape[1:])}; vectors are floats"
            )
        else:
            self._refuse(self.targets < 0, "has a negative class number; classes are numbered from 0")
        if self.times is not None:
            self._refuse(~torch.isfinite(self.times), "has a time that is NaN or infinite")

    def _refuse(self, bad: Tensor, what: str) -> None:
        if bool(bad.any()):
            line = int(bad.nonzero()[0])
            task = int(self.task_of_rows[line])
            place = line - int(self.starts[task])
            raise InputError(f"task '{self.names[task]}' {what} (its row {place}: item {int(self.rows[line])})")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        shape = tuple(self.targets.shape[1:])
        kind = f"{self.ways} classes" if self.ways is not None else f"targets of shape {shape}" if shape else "numbers"
        return (
            f"TaskData({self.name}: {len(self)} tasks, {len(self.rows)} rows of {self.count} items of shape "
            f"{row_shapes(self.items)}, {kind}, attributes {sorted(self.attributes)})"
        )

    @property
    def inputs(self) -> Any:
        """(M, ...) the items, under the name that tasks read."""
        return self.items

    @cached_property
    def count(self) -> int:
        """Number of items M."""
        return check_tree(self.items, "items")

    @cached_property
    def starts(self) -> Tensor:
        """(T,) row at which each task begins."""
        return torch.cumsum(self.sizes, 0) - self.sizes

    @cached_property
    def task_of_rows(self) -> Tensor:
        """(E,) task of each row."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.sizes.device), self.sizes)

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of items, names, rows, targets and times: banks and runs store it to notice that data changed."""
        digest = hashlib.sha256("\0".join(self.names).encode())
        hash_inputs(digest, self.items)
        for value in (self.sizes, self.rows, self.targets, self.times):
            if value is not None:
                digest.update(bytes_of(value))
        return digest.hexdigest()[:16]

    def subset(self, tasks: Sequence[int] | Sequence[str], name: str | None = None) -> Self:
        """Return the data of these tasks (indices or names), in the order given. Items are shared, not copied.

        Raises:
            InputError: there is no such task, or one is named twice.
        """
        picked = chosen(tasks, self.names, "task", "tasks")
        places = torch.tensor(picked, dtype=torch.long, device=self.sizes.device)
        sizes = self.sizes[places]
        # Row numbers of the tasks end to end: each task's start, and its rows counted from there.
        begin = torch.repeat_interleave(self.starts[places] - (torch.cumsum(sizes, 0) - sizes), sizes)
        return self._of(begin + torch.arange(len(begin), device=begin.device), picked, sizes, name or self.name)

    def _of(self, lines: Tensor, picked: Sequence[int], sizes: Tensor, name: str) -> Self:
        """Return the data of lines (of the E) that belong to picked tasks, so many to each."""
        new = object.__new__(type(self))
        new._set(
            self.items,
            tuple(self.names[i] for i in picked),
            self.rows[lines],
            self.targets[lines],
            sizes,
            name,
            {key: tuple(values[i] for i in picked) for key, values in self.attributes.items()},
            None if self.times is None else self.times[lines],
        )
        new.ways = self.ways
        return new

    def without(self, items: Tensor) -> Self:
        """Return the data without the rows of some items, and without tasks that have no other rows.

        Args:
            items: (M,) Booleans, True for items that are left out.
        """
        kept = ~items[self.rows]
        sizes = torch.bincount(self.task_of_rows[kept], minlength=len(self))
        picked = sizes.nonzero().squeeze(1)
        return self._of(kept.nonzero().squeeze(1), picked.tolist(), sizes[picked], self.name)

    def split(
        self,
        by: str | None = None,
        fractions: Sequence[float] = (0.64, 0.16, 0.20),
        seed: int = 0,
        disjoint_items: bool = False,
        tasks: Sequence[Sequence[str]] | None = None,
    ) -> tuple[Self, ...]:
        """Split into meta-train, -validation and -test data with disjoint tasks.

        Args:
            by: keep tasks with the same value of this attribute together; None splits tasks one by one.
            fractions: share of the tasks in each part.
            seed: the split is a pure function of the names (or values) of the tasks and this number.
            disjoint_items: no item of a part occurs in an earlier one. Test tasks keep all their rows; earlier parts
                lose the rows of items that later parts have, and tasks that have no other rows.
            tasks: explicit lists of names instead; overlapping ones are refused.

        Raises:
            InputError: lists overlap, the attribute is unknown, a part would be empty, or loses all its rows.
        """
        if by is not None and by not in self.attributes:
            raise unknown_name("attribute", by, self.attributes)
        if tasks is not None:
            given = [name for part in tasks for name in part]
            if len(set(given)) < len(given):
                twice = min(name for name in set(given) if given.count(name) > 1)
                raise InputError(f"task '{twice}' is in the parts of the split twice; parts must be disjoint")
            parts = [self.subset(list(part)) for part in tasks]
        else:
            values = self.names if by is None else self.attributes[by]
            parts = [self.subset(sorted(part)) for part in divided(values, fractions, seed, by or "task")]
        if not disjoint_items:
            return tuple(parts)
        found: list[Self] = []
        later = torch.zeros(self.count, dtype=torch.bool, device=self.rows.device)
        for number, part in reversed(list(enumerate(parts))):
            rest = part.without(later) if found else part
            if not len(rest):
                raise InputError(
                    f"disjoint_items leaves nothing of part {number}: all {len(part.rows)} rows of its {len(part)} "
                    "tasks are of items that later parts have; split without it, or by another attribute"
                )
            later[rest.rows] = True
            found.insert(0, rest)
        return tuple(found)

    def to(self, device: torch.device | str) -> Self:
        """Return the data with all tensors on a device."""
        new = object.__new__(type(self))
        new._set(
            trees.map_leaves(lambda leaf: leaf.to(device), self.items),
            self.names,
            self.rows.to(device),
            self.targets.to(device),
            self.sizes.to(device),
            self.name,
            self.attributes,
            None if self.times is None else self.times.to(device),
        )
        new.ways = self.ways
        return new


def _numbered(task: Any) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """Return the tasks of a column, sorted, and the number of each line's task (E,)."""
    column = np.asarray(task)
    if column.ndim != 1 or not len(column):
        raise InputError(f"task must be (E,), with at least one line, not {column.shape}")
    if column.dtype.kind == "f" and np.isnan(column).any():
        raise InputError(f"task is NaN in line {int(np.isnan(column).argmax())}; drop lines without a task")
    try:
        values, number = np.unique(column, return_inverse=True)
    except TypeError as error:
        kinds = ", ".join(sorted({type(each).__name__ for each in column}))
        raise InputError(f"task holds {kinds}; use strings or integers, and drop lines without a task") from error
    return values.tolist(), number


def _moments(times: Any, what: str) -> Tensor:
    """Return times as `numbers` does, but with all their digits: float32 has too few for seconds since 1970."""
    found = numbers(times, what)
    if isinstance(times, Tensor) or not found.dtype.is_floating_point:
        return found
    return torch.tensor(np.asarray(times, np.float64))


def _times_of(key: str, times: Mapping[str, Any], rows: int) -> Tensor:
    if key not in times:
        raise InputError(f"times lack task '{key}'; give the times of each task's rows, or of each item")
    found = _moments(times[key], f"times of task '{key}'")
    if found.shape != (rows,):
        raise InputError(f"task '{key}' has {rows} rows and times {tuple(found.shape)}; give one per row")
    return found
