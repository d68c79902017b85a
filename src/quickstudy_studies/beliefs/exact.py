"""Exact answers to two families of tasks, by Bayes' rule: what no learner can do better than."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.functional.predictive import GaussianMixture, normal_log_prob
from quickstudy.tasks.synthetic.half_planes import OpenArc, exact, open_arc


class HalfPlanePosterior(Learner):
    """The true probabilities of `tasks.HalfPlanes`."""

    def adapt(self, support: Examples) -> OpenArc:
        """Find the angles that are left open."""
        return open_arc(support)

    def predict(self, state: OpenArc, inputs: Any) -> Tensor:
        """Return log-probabilities (Q, 2)."""
        p = exact(state, inputs)
        # An impossible side is impossible up to rounding.
        return torch.stack([1 - p, p], 1).clamp_min(1e-9).log()


class Sinusoids(NamedTuple):
    """Equally probable sinusoids."""

    amplitude: Tensor
    """(L,) amplitudes of the draws."""
    phase: Tensor
    """(L,) phases of the draws."""


class SinusoidPosterior(Learner):
    """The posterior of a sin(x - phi), a uniform in [0.1, 5] and phi in [0, pi], under noise that is known.

    Args:
        noise: its standard deviation.
        cells: of the grid on which the posterior is computed, in each direction.
        draws: sinusoids L that stand for the posterior: every so many of its cells by their weight.
    """

    def __init__(self, noise: float = 0.3, cells: int = 150, draws: int = 100) -> None:
        super().__init__()
        self.noise, self.draws = noise, draws
        middles = (torch.arange(cells) + 0.5) / cells
        self.amplitudes = (0.1 + 4.9 * middles).repeat_interleave(cells)
        self.phases = (math.pi * middles).repeat(cells)

    def adapt(self, support: Examples) -> Sinusoids:
        """Weigh all sinusoids of the grid, and keep those that stand for them."""
        means = self.amplitudes * torch.sin(support.inputs - self.phases)
        noise = torch.tensor(self.noise)
        weights = torch.softmax(normal_log_prob(support.labels, means, noise).sum(0).double(), 0)
        shares = weights.sum() * (torch.arange(self.draws, dtype=torch.float64) + 0.5) / self.draws
        kept = torch.searchsorted(weights.cumsum(0), shares).clamp_max(len(weights) - 1)
        return Sinusoids(self.amplitudes[kept], self.phases[kept])

    def predict(self, state: Sinusoids, inputs: Any) -> GaussianMixture:
        """Return a mixture of L normal distributions for each query."""
        means = (state.amplitude * torch.sin(inputs - state.phase)).unsqueeze(2)
        weights = torch.full(means.shape[:2], -math.log(self.draws))
        return GaussianMixture(means, torch.full_like(means, self.noise), weights)
