"""Scores of predictions: one number a task, accuracy by presentation, and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Output
from quickstudy.errors import InputError
from quickstudy.functional.classes import presentation
from quickstudy.functional.predictive import Predictive, check_targets, point

METRICS = ("accuracy", "iou", "mse", "log_likelihood", "loss")
"""What a task distribution may be measured by: the fraction of queries right, intersection over union of the
foreground, mean squared error, the mean log-density of a query's targets (nats), or the learner's own loss."""
LOWER_IS_BETTER = ("mse", "loss")
"""Which of them."""


def row_mask(query: Examples) -> Tensor:
    """Return (T, Q) which rows count."""
    rows = query.labels
    return torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device) if query.mask is None else query.mask


def task_scores(outputs: Output, query: Examples, metric: str) -> Tensor:
    """Return the metric of each task (T,)."""
    mask = row_mask(query).double()
    rows: Tensor
    if metric == "iou":
        valid = row_mask(query).reshape(*query.labels.shape[:2], *(1,) * (query.labels.ndim - 2))
        wanted, given = (query.labels == 1) & valid, (outputs.argmax(2) == 1) & valid
        both, either = (given & wanted).flatten(1).sum(1).double(), (given | wanted).flatten(1).sum(1).double()
        return torch.where(either > 0, both / either.clamp_min(1), 1.0)
    if metric == "accuracy":
        rows = (outputs.argmax(2) == query.labels).double()
    elif metric == "log_likelihood":
        if not isinstance(outputs, Predictive):
            raise InputError(
                "a log-likelihood needs predictions that carry their uncertainty, and this learner's are points; "
                "evaluate it with metric='mse', or take a neural process"
            )
        rows = batching.map_tasks(lambda found, wanted: found.log_prob(wanted), outputs, query.labels).double()
    else:
        means = batching.map_tasks(point, outputs)
        check_targets(means, query.labels)
        rows = (means - query.labels.reshape(means.shape)).double().square()
    rows = rows.flatten(2).mean(2) if rows.ndim > 2 else rows
    return (rows * mask).sum(1) / mask.sum(1).clamp_min(1)


def by_presentation(outputs: Tensor, sequences: Examples) -> Tensor:
    """Return (T, P) the accuracy of each task at the 1st, 2nd, ... presentation of a class."""
    which, mask = batching.map_tasks(presentation, sequences), row_mask(sequences)
    right = (outputs.argmax(2) == sequences.labels) & mask
    columns = [which == number for number in range(int(which[mask].max()) + 1)]
    found = [(right & column).sum(1) / (mask & column).sum(1).clamp_min(1) for column in columns]
    return torch.stack(found, 1).double()


def sureness(outputs: Tensor, query: Examples) -> tuple[Tensor, Tensor]:
    """Return (rows,) the largest probability of each row that counts, and whether that class was right."""
    probabilities = torch.softmax(outputs.double(), 2)
    confidence, label = probabilities.max(2)
    right = label == query.labels
    mask = row_mask(query)
    return confidence[mask].flatten().cpu(), right[mask].flatten().cpu()


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> tuple[float, np.ndarray[Any, Any]]:
    """Return the expected calibration error and (bins, 3) confidence, accuracy and share of each bin.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3. Inputs are (rows,).
    """
    which = (confidence * bins).long().clamp(0, bins - 1)
    table = np.zeros((bins, 3))
    for b in range(bins):
        rows = which == b
        if bool(rows.any()):
            share = float(rows.double().mean())
            table[b] = float(confidence[rows].double().mean()), float(right[rows].double().mean()), share
    return float((np.abs(table[:, 0] - table[:, 1]) * table[:, 2]).sum()), table
