"""Rows of a query that count, and means over them."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Output
from quickstudy.errors import InputError
from quickstudy.functional.predictive import check_targets, point


def row_mask(rows: Examples) -> Tensor:
    """Return (T, Q) which rows of T tasks count."""
    labels = rows.labels
    return torch.ones(labels.shape[:2], dtype=torch.bool, device=labels.device) if rows.mask is None else rows.mask


def mean_of_rows(values: Tensor, query: Examples) -> Tensor:
    """Return (T,) float64: the mean of values (T, Q, ...) over the rows that count, and over the numbers of a row.

    It is nan in tasks where no row counts.
    """
    values, mask = values.double(), row_mask(query)
    if values.shape[:2] != mask.shape:
        raise InputError(f"answers {tuple(values.shape)} are not one for each of the query's rows {tuple(mask.shape)}")
    rows = values.flatten(2).mean(2) if values.ndim > 2 else values
    return torch.where(mask, rows, 0.0).sum(1) / mask.double().sum(1)


def check_logits(outputs: Output, query: Examples) -> None:
    """Raise InputError unless outputs are logits (T, Q, N, ...) of labels (T, Q, ...), so that each has its own."""
    if (
        not isinstance(outputs, Tensor)
        or outputs.ndim < 3
        or (*outputs.shape[:2], *outputs.shape[3:]) != tuple(query.labels.shape)
    ):
        raise InputError(
            f"logits {tuple(getattr(outputs, 'shape', ()))} do not fit labels {tuple(query.labels.shape)}: each row of "
            "a task needs one class and (N,) logits"
        )


def classes_of(outputs: Output, query: Examples) -> Tensor:
    """Return (T, Q, ...) the classes with the largest logits (T, Q, N, ...).

    Raises:
        InputError: labels are no classes, or of another shape than predictions are of.
    """
    if query.labels.dtype.is_floating_point:
        raise InputError("this metric judges classes, and labels are numbers; take 'mse', say")
    check_logits(outputs, query)
    classes: Tensor = outputs.argmax(2)
    return classes


def points_and_targets(outputs: Output, query: Examples) -> tuple[Tensor, Tensor]:
    """Return the means (T, Q, ...) of predictions, and the targets in the same shape.

    Raises:
        InputError: labels are classes, or predictions and targets differ in their number of numbers.
    """
    if not query.labels.dtype.is_floating_point:
        raise InputError("this metric judges targets that are numbers, and labels are classes; take 'accuracy', say")
    means: Tensor = batching.map_tasks(point, outputs)
    check_targets(means, query.labels)
    if means.shape[:2] != query.labels.shape[:2]:
        raise InputError(
            f"predictions {tuple(means.shape)} and targets {tuple(query.labels.shape)} differ in their rows; build the "
            "net with as many outputs as a row has targets"
        )
    return means, query.labels.reshape(means.shape)
