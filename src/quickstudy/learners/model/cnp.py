"""Conditional neural processes.

Garnelo et al. 2018, "Conditional Neural Processes", equations 1-3 and 4:

    r_i = h(x_i, y_i),   r = mean_i r_i,   (mean, std)(x) = g(x, r)
    loss = -E log p(y | x, support), a normal distribution for each query

Learned across tasks: the encoder h and the decoder g. Departures: the loss is of the query only, where the paper's
targets include the support; std = 0.01 + 0.99 softplus rather than 0.1 + 0.9 softplus, so that noise below 0.1 can
be told.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples
from quickstudy.functional.predictive import Gaussian
from quickstudy.learners.bases.neural_process import NeuralProcess, masked_row_mean, perceptron
from quickstudy.registry import register


class Representation(NamedTuple):
    """The state of one task."""

    r: Tensor
    """(width,) mean representation of the support."""


@register("learner", family="model", learns="how to read a support", paper="Garnelo et al. 2018a", tasks="regression")
class CNP(NeuralProcess):
    """Predicts a mean and a standard deviation from the mean of encoded (x, y) pairs.

    Args:
        inputs: numbers a row of inputs has.
        outputs: targets a row has.
        width: of every hidden layer and of the representation.
        least_std: smallest standard deviation that can be predicted.
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, width: int = 128, least_std: float = 0.01) -> None:
        super().__init__(inputs, outputs, width, least_std)
        self.encoder = perceptron(inputs + outputs, width, width, width, width)
        self.decoder = perceptron(inputs + width, width, width, width, 2 * outputs)

    def adapt(self, support: Examples) -> Representation:
        """Average the encoded rows."""
        return Representation(masked_row_mean(self.encoder(self.pairs(support)), support.mask))

    def predict(self, state: Representation, inputs: Any) -> Gaussian:
        """Return a Gaussian (Q, outputs)."""
        x = self.rows(inputs)
        return self.gaussian(self.decoder(torch.cat([x, state.r.expand(len(x), -1)], 1)))
