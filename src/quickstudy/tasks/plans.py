"""Checks of a plan of rows, whoever wrote it: rows that exist, a query apart from its support, labels that are classes.

A plan that was drawn keeps to it. One that was read from a file may have been changed, and a query that is among the
rows of its support has no honest figure.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def refused_rows(parts: Mapping[str, Tensor], rows: int, padded: bool = True, distinct: bool = True) -> str | None:
    """Return why parts of tasks cannot be made of rows, or None if they can.

    Args:
        parts: row numbers (T, ...) by the name of the part, -1 for padding.
        rows: how many rows there are.
        padded: whether there may be padding.
        distinct: whether no row may come twice in a task, in one part or in two.
    """
    for name, numbers in parts.items():
        low = -1 if padded else 0
        wrong = (numbers < low) | (numbers >= rows)
        if bool(wrong.any()):
            task, row = int(wrong.flatten(1).any(1).nonzero()[0]), int(numbers[wrong][0])
            return f"the {name} of task {task} has row {row}, of rows 0..{rows - 1}"
    if not distinct:
        return None
    for i, (name, numbers) in enumerate(parts.items()):
        own = _by_task(numbers, rows)
        if len(torch.unique(own)) < len(own):
            return f"a row comes twice in the {name} of a task"
        for other, others in list(parts.items())[:i]:
            both = own[torch.isin(own, _by_task(others, rows))]
            if len(both):
                task, row = divmod(int(both[0]), rows)
                return f"row {row} is both in the {other} and in the {name} of task {task}"
    return None


def refused_labels(labels: Tensor, classes: Tensor) -> str | None:
    """Return why labels cannot stand for classes, or None if they can: each for one class, and each class under one.

    Args:
        labels: (T, ...) labels within tasks.
        classes: (T, ...) classes of the rows, -1 for padding.
    """
    task = torch.arange(len(labels), device=labels.device).reshape(-1, *(1,) * (labels.ndim - 1)).expand_as(labels)
    triples = torch.stack([each[classes >= 0] for each in (task, labels, classes)], 1)
    every = len(torch.unique(triples, dim=0))
    for kept, said in (
        ((0, 1), "a label of a task stands for rows of several classes"),
        ((0, 2), "a class of a task has several labels"),
    ):
        if len(torch.unique(triples[:, kept], dim=0)) != every:
            return said
    return None


def refused_asked(shown: Tensor, asked: Tensor, ways: int) -> str | None:
    """Return why queries cannot be answered, or None if they can: the support shows whatever the query asks for.

    Args:
        shown: (T, ...) labels of support rows, -1 for padding.
        asked: (T, ...) labels of query rows, -1 for padding.
        ways: how many labels there are at most.
    """
    for labels in (shown, asked):
        if bool((labels >= ways).any()) or bool((labels < -1).any()):
            return f"labels lie outside 0..{ways - 1}"
    lacking = ~torch.isin(_by_task(asked, ways), _by_task(shown, ways))
    if bool(lacking.any()):
        return "a query asks for a class that no row of its support shows"
    if not bool((asked >= 0).flatten(1).any(1).all()):
        return "a task has no query"
    return None


def refused_values(columns: Mapping[str, Tensor], low: float, high: float) -> str | None:
    """Return which column holds a number outside low..high, or None if none does."""
    for name, values in columns.items():
        if values.numel() and not bool(((values >= low) & (values <= high)).all()):
            return f"'{name}' holds numbers outside {low}..{high}"
    return None


def _by_task(numbers: Tensor, limit: int) -> Tensor:
    """Return task * limit + number of every number (T, ...) that is no padding."""
    flat = numbers.flatten(1)
    whole = torch.arange(len(flat), device=flat.device).unsqueeze(1) * limit + flat
    return whole[flat >= 0]
