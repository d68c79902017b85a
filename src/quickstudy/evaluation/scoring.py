"""Accuracy by presentation, and calibration, which say more of predicted classes than one metric does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples
from quickstudy.evaluation.metrics.rows import row_mask
from quickstudy.functional.classes import presentation


def by_presentation(outputs: Tensor, sequences: Examples) -> Tensor:
    """Return (T, P) the accuracy of each task at the 1st, 2nd, ... presentation of a class, nan where it has none."""
    which, mask = batching.map_tasks(presentation, sequences), row_mask(sequences)
    right = (outputs.argmax(2) == sequences.labels) & mask
    columns = [which == number for number in range(int(which[mask].max()) + 1)]
    found = [(right & column).sum(1) / (mask & column).sum(1) for column in columns]
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

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3. Inputs are (rows,). Of no row it is nan.
    """
    which = (confidence * bins).long().clamp(0, bins - 1)
    table = np.zeros((bins, 3))
    for b in range(bins):
        rows = which == b
        if bool(rows.any()):
            share = float(rows.double().mean())
            table[b] = float(confidence[rows].double().mean()), float(right[rows].double().mean()), share
    if not len(confidence):
        return math.nan, table
    return float((np.abs(table[:, 0] - table[:, 1]) * table[:, 2]).sum()), table
