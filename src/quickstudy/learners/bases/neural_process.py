"""The base of neural processes: perceptrons that read (x, y) pairs and write a mean and a standard deviation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.checks import flat_rows
from quickstudy.functional.classes import label_features
from quickstudy.functional.predictive import Gaussian


def perceptron(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between, for (..., sizes[0]) inputs."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def masked_row_mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean (R,) of rows (S, R) that count."""
    if mask is None:
        return rows.mean(0)
    kept = torch.where(mask.unsqueeze(1), rows, torch.zeros_like(rows))
    return kept.sum(0) / mask.sum().clamp_min(1)


class NeuralProcess(Learner):
    """Base of neural processes: regression of (Q, outputs) targets with a normal distribution for each.

    Args:
        inputs: numbers a row of inputs has.
        outputs: targets a row has.
        width: of every hidden layer and every representation.
        least_std: smallest standard deviation that can be predicted, so that no likelihood is infinite.

    Raises:
        InputError: a size or the standard deviation is not positive.
    """

    def __init__(self, inputs: int, outputs: int, width: int, least_std: float) -> None:
        super().__init__()
        if min(inputs, outputs, width) < 1 or not least_std > 0:
            raise InputError(f"{inputs=}, {outputs=}, {width=} and {least_std=} must be positive")
        self.inputs, self.outputs, self.width, self.least_std = inputs, outputs, width, least_std

    def rows(self, inputs: Any) -> Tensor:
        """Return inputs as (S, D), or raise InputError."""
        if not isinstance(inputs, Tensor) or flat_rows(inputs).shape[1] != self.inputs:
            shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise InputError(f"rows of inputs are {shape} but the learner was built with inputs={self.inputs}")
        return flat_rows(inputs)

    def pairs(self, examples: Examples) -> Tensor:
        """Return (S, D + outputs), each row's inputs and targets side by side."""
        if examples.ways is not None:
            raise InputError(f"{type(self).__name__} is for regression: the support needs floating targets, not labels")
        rows = self.rows(examples.inputs)
        return torch.cat([rows, label_features(examples, self.outputs, rows.dtype)], 1)

    def gaussian(self, raw: Tensor) -> Gaussian:
        """Return a Gaussian (..., outputs) of a decoder's raw numbers (..., 2 outputs)."""
        mean, spread = raw.chunk(2, -1)
        return Gaussian(mean, self.least_std + (1 - self.least_std) * F.softplus(spread))
