"""Tasks made of data: from row numbers to examples, the one place that indexes and pads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from quickstudy.core import Examples
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.checks import check_tree, takes
from quickstudy.functional.numbers import shown
from quickstudy.operators import trees
from quickstudy.tasks.base import Plan, TaskDistribution

ROWS_AT_ONCE = 64
"""Rows that are embedded at once: a convolutional net's maps of them stay in a CPU's cache."""

Augment = Callable[[Any, Tensor], Any]
"""(inputs (T, S, ...), keys (T,)) -> inputs; where inputs are a pytree, it takes and returns the pytree."""


def check_augment(augment: Any) -> Any:
    """Return what augments, or raise InputError if it cannot be called with inputs and keys."""
    if augment is None:
        return None
    if not callable(augment):
        raise InputError(f"augment must be a function (inputs, keys) -> inputs or None, not {shown(augment)}")
    reason = takes(augment, 2)
    if reason is not None:
        raise InputError(f"augment must be a function (inputs, keys) -> inputs, and {reason}")
    return augment


class RowTasks(TaskDistribution):
    """Base of distributions whose tasks are made of rows of data in memory.

    Args:
        data: what has rows: `ClassData` or `TaskData`.
        seed: the stream's seed.
    """

    data: Any

    def __init__(self, data: Any, seed: int = 0) -> None:
        super().__init__(seed)
        self.data, self.name = data, data.name
        self._features: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """Move the data to a device."""
        self.data = self.data.to(device)
        return super().to(device)

    @property
    def inputs(self) -> Any:
        """(M, ...) what rows are taken from: the data, a tensor or a pytree of tensors, or features of them."""
        return self.data.inputs if self._features is None else self._features

    def embedded(self, plan: Plan, embed: Callable[[Any], Tensor]) -> tuple[Self, Plan] | None:
        """Return these tasks, and a plan of them, with every row replaced by its features, each embedded once.

        Args:
            plan: the tasks that are wanted.
            embed: (rows, ...) or a pytree of such -> (rows, ...).

        Returns:
            None where it would not pay or not be the same: rows are augmented, or hardly any comes twice.
        """
        return None

    @property
    def fingerprint(self) -> str:
        """Hash of the data."""
        return self.data.fingerprint  # type: ignore[no-any-return]

    def _embedded(self, plan: Plan, names: tuple[str, ...], embed: Callable[[Any], Tensor]) -> tuple[Self, Plan] | None:
        found = self._featured(torch.cat([plan[name].flatten() for name in names]), embed)
        if found is None:
            return None
        tasks, places = found
        # Padding is row -1, the last place.
        return tasks, {**plan, **{name: places[plan[name]] for name in names}}

    def _featured(self, wanted: Tensor, embed: Callable[[Any], Tensor]) -> tuple[Self, Tensor] | None:
        """Return these tasks with the features of all rows wanted (-1 for none), and the place of each row (M + 1,)."""
        wanted = wanted[wanted >= 0]
        places = torch.full((check_tree(self.data.inputs) + 1,), -1, device=wanted.device)
        rows = torch.unique(wanted)
        if 2 * len(rows) > len(wanted):
            return None
        places[rows] = torch.arange(len(rows), device=rows.device)
        tasks = copy.copy(self)
        parts = [as_floats(select_rows(self.data.inputs, part)) for part in rows.split(ROWS_AT_ONCE)]
        tasks._features = torch.cat([embed(part) for part in parts])
        return tasks, places


class DataTasks(RowTasks):
    """Base of distributions whose tasks are made of rows of `ClassData`.

    Args:
        data: examples grouped by class.
        seed: the stream's seed.

    Raises:
        InputError: data are not `ClassData`.
    """

    data: ClassData

    def __init__(self, data: ClassData, seed: int = 0) -> None:
        if not isinstance(data, ClassData):
            raise InputError(f"data must be ClassData, not {type(data).__name__}; make it with datasets.arrays(X, y)")
        super().__init__(data, seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.data.classes

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "classes": len(self.data.classes)}


def as_floats(inputs: Any) -> Any:
    """Return inputs whose 8-bit tensors are floats in [0, 1]; all others are as they were."""
    return trees.map_leaves(lambda leaf: leaf / 255 if leaf.dtype == torch.uint8 else leaf, inputs)


def select_rows(inputs: Any, rows: Tensor) -> Any:
    """Return rows (R,) of a tensor (M, ...), or of every tensor of a pytree."""
    # `index_select` copies whole rows: ten times as fast as indexing.
    return trees.map_leaves(lambda leaf: leaf.index_select(0, rows), inputs)


def _augmented(augment: Augment, inputs: Any, keys: Tensor) -> Any:
    """Return what augmenting makes of inputs (T, S, ...), which must be as many rows of the same tensors."""
    found = augment(inputs, keys)
    before, after = ([getattr(leaf, "shape", ())[:2] for leaf in trees.leaves(each)] for each in (inputs, found))
    if before != after:
        raise InputError(
            f"augment was given inputs {[tuple(each) for each in before]} (T, S, ...) and returned "
            f"{[tuple(each) for each in after]}; it must return as many rows of as many tensors"
        )
    return found


class Rows(Protocol):
    """A collection of rows."""

    @property
    def inputs(self) -> Any:
        """(M, ...), or a pytree of such."""
        ...


def examples(
    data: Rows,
    rows: Tensor,
    labels: Tensor,
    ways: int | None,
    padded: bool,
    augment: Augment | None = None,
    part: int = 0,
) -> Examples:
    """Return the batched examples of row numbers.

    Args:
        data: where rows are taken from.
        rows: (T, S) row numbers, -1 for padding.
        labels: (T, S) labels within the task, or targets (T, S, ...).
        ways: number of classes N; None for targets.
        padded: whether rows may hold -1, so that a mask is needed.
        augment: changes the inputs; where they are a pytree, it is given the pytree.
        part: 0 for the support, 1 for the query: they are augmented differently.
    """
    mask = rows >= 0 if padded else None
    if mask is not None:
        # Padding repeats a real row of the task, so that batch statistics over all rows stay sensible.
        first = rows.gather(1, mask.long().argmax(1, keepdim=True))
        rows = torch.where(mask, rows, first)
    # A task without any row has -1, any row will do.
    picked = select_rows(data.inputs, rows.flatten() % check_tree(data.inputs))
    inputs = as_floats(trees.map_leaves(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), picked))
    if augment is not None:
        # Keys from the rows themselves: a plan alone decides its tasks, whatever the stream.
        inputs = _augmented(augment, inputs, random.fold_in(random.key(part, rows.device), rows.sum(1)))
    return Examples(inputs, labels, mask, ways, check=False)
