"""Rows of a query that count, and means over them."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Output
from quickstudy.functional.predictive import check_targets, point


def row_mask(rows: Examples) -> Tensor:
    """Return (T, Q) which rows of T tasks count."""
    labels = rows.labels
    return torch.ones(labels.shape[:2], dtype=torch.bool, device=labels.device) if rows.mask is None else rows.mask


def mean_of_rows(values: Tensor, query: Examples) -> Tensor:
    """Return (T,) float64: the mean of values (T, Q, ...) over the rows that count, and over the numbers of a row."""
    values, mask = values.double(), row_mask(query)
    rows = values.flatten(2).mean(2) if values.ndim > 2 else values
    return torch.where(mask, rows, 0.0).sum(1) / mask.double().sum(1).clamp_min(1)


def points_and_targets(outputs: Output, query: Examples) -> tuple[Tensor, Tensor]:
    """Return the means (T, Q, ...) of predictions, and the targets in the same shape.

    Raises:
        InputError: predictions and targets differ in their number of numbers.
    """
    means: Tensor = batching.map_tasks(point, outputs)
    check_targets(means, query.labels)
    return means, query.labels.reshape(means.shape)
