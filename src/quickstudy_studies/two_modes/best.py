"""The best that can be known of a sinusoid or a line from a few noisy points: the mean of the posterior."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner


class Posterior(NamedTuple):
    """The state of one task."""

    sine: Tensor
    """(2,) mean of p(sine) (a cos phi, -a sin phi), the factors of sin x and cos x."""
    line: Tensor
    """(2,) mean of p(line) (slope, intercept)."""


class BestOfTwoModes(Learner):
    """Bayes' rule over both modes of `tasks.MultiModal(("sine", "linear"))`, on a grid of their parameters.

    Both functions are linear in two numbers, so that the posterior mean of the function is that of the numbers. No
    learner has a smaller expected squared error.

    Args:
        noise: standard deviation of the noise, which is known.
        points: of the grid, along each parameter.
    """

    def __init__(self, noise: float = 0.3, points: int = 120) -> None:
        super().__init__()
        self.noise = noise
        u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        a, phi = torch.meshgrid(0.1 + 4.9 * u, math.pi * u, indexing="ij")
        slope, intercept = torch.meshgrid(-3 + 6 * u, -3 + 6 * u, indexing="ij")
        self.sines = torch.stack([a * phi.cos(), -a * phi.sin()], -1).flatten(0, 1)
        self.lines = torch.stack([slope, intercept], -1).flatten(0, 1)

    def adapt(self, support: Examples) -> Posterior:
        """Weigh all sinusoids and lines by how likely they make the support."""
        y = support.labels.flatten().double()
        parts = [(self.sines, _waves(support.inputs)), (self.lines, _straight(support.inputs))]
        fits = [-(y - grid @ basis.mT).square().sum(1) / (2 * self.noise**2) for grid, basis in parts]
        weights = torch.cat(fits).softmax(0)
        sine, line = weights[: len(self.sines)], weights[len(self.sines) :]
        return Posterior(sine @ self.sines, line @ self.lines)

    def predict(self, state: Posterior, inputs: Any) -> Tensor:
        """Return (Q, 1)."""
        values = _waves(inputs) @ state.sine + _straight(inputs) @ state.line
        return values.unsqueeze(1).to(inputs.dtype)


def _waves(inputs: Tensor) -> Tensor:
    x = inputs.flatten().double()
    return torch.stack([x.sin(), x.cos()], 1)


def _straight(inputs: Tensor) -> Tensor:
    x = inputs.flatten().double()
    return torch.stack([x, torch.ones_like(x)], 1)
