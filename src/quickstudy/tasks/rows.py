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
from quickstudy.tasks.base import Plan, TaskDistribution

ROWS_AT_ONCE = 64
"""Rows that are embedded at once: a convolutional net's maps of them stay in a CPU's cache."""

Augment = Callable[[Tensor, Tensor], Tensor]
"""(inputs (T, S, ...), keys (T,)) -> inputs."""


class DataTasks(TaskDistribution):
    """Base of distributions whose tasks are made of rows of `ClassData`.

    Args:
        data: examples grouped by class.
        seed: the stream's seed.

    Raises:
        InputError: data are not `ClassData`.
    """

    def __init__(self, data: ClassData, seed: int = 0) -> None:
        super().__init__(seed)
        if not isinstance(data, ClassData):
            raise InputError(f"data must be ClassData, not {type(data).__name__}; make it with datasets.arrays(X, y)")
        self.data, self.name = data, data.name
        self._features: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """Move the data to a device."""
        self.data = self.data.to(device)
        return super().to(device)

    @property
    def inputs(self) -> Tensor:
        """(M, ...) what rows are taken from: the data, or features of them."""
        return self.data.inputs if self._features is None else self._features

    def embedded(self, plan: Plan, embed: Callable[[Tensor], Tensor]) -> tuple[Self, Plan] | None:
        """Return these tasks, and a plan of them, with every row replaced by its features, each embedded once.

        Args:
            plan: the tasks that are wanted.
            embed: (rows, ...) -> (rows, ...).

        Returns:
            None where it would not pay or not be the same: rows are augmented, or hardly any comes twice.
        """
        return None

    def _embedded(
        self, plan: Plan, names: tuple[str, ...], embed: Callable[[Tensor], Tensor]
    ) -> tuple[Self, Plan] | None:
        wanted = torch.cat([plan[name].flatten() for name in names])
        wanted = wanted[wanted >= 0]
        places = torch.full((len(self.data) + 1,), -1, device=wanted.device)
        rows = torch.unique(wanted)
        if 2 * len(rows) > len(wanted):
            return None
        places[rows] = torch.arange(len(rows), device=rows.device)
        tasks = copy.copy(self)
        tasks._features = torch.cat([embed(as_floats(self.data.inputs[part])) for part in rows.split(ROWS_AT_ONCE)])
        # Padding is row -1, the last place.
        return tasks, {**plan, **{name: places[plan[name]] for name in names}}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.data.classes

    @property
    def fingerprint(self) -> str:
        """Hash of the data."""
        return self.data.fingerprint

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "classes": len(self.data.classes)}


def as_floats(inputs: Tensor) -> Tensor:
    """Return 8-bit images as floats in [0, 1], anything else as it is."""
    return inputs / 255 if inputs.dtype == torch.uint8 else inputs


class Rows(Protocol):
    """What has rows."""

    @property
    def inputs(self) -> Tensor:
        """(M, ...)."""
        ...


def examples(
    data: Rows,
    rows: Tensor,
    labels: Tensor,
    ways: int,
    padded: bool,
    augment: Augment | None = None,
    part: int = 0,
) -> Examples:
    """Return the batched examples of row numbers.

    Args:
        data: where rows are taken from.
        rows: (T, S) row numbers, -1 for padding.
        labels: (T, S) labels within the task.
        ways: number of classes N.
        padded: whether rows may hold -1, so that a mask is needed.
        augment: changes the inputs.
        part: 0 for the support, 1 for the query: they are augmented differently.
    """
    mask = rows >= 0 if padded else None
    if mask is not None:
        # Padding repeats a real row of the task, so that batch statistics over all rows stay sensible.
        first = rows.gather(1, mask.long().argmax(1, keepdim=True))
        rows = torch.where(mask, rows, first)
    # `index_select` copies whole rows: ten times as fast as indexing. A task without any row has -1, any row will do.
    picked = data.inputs.index_select(0, rows.flatten() % len(data.inputs))
    inputs = as_floats(picked.reshape(*rows.shape, *picked.shape[1:]))
    if augment is not None:
        # Keys from the rows themselves: a plan alone decides its tasks, whatever the stream.
        inputs = augment(inputs, random.fold_in(random.key(part, rows.device), rows.sum(1)))
    return Examples(inputs, labels, mask, ways, check=False)
