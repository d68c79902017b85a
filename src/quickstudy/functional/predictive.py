"""Predictions that carry their uncertainty, for `predict` to return where a mean alone would not do.

Both kinds are pytrees whose tensors have one row per query first, so they are batched, compared and stored like plain
outputs. Both have `mean`, `std` and `log_prob`; readers of predictions (losses, metrics, reports) ask for nothing else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import InputError


class Gaussian(NamedTuple):
    """A normal distribution for each number, independent of the others."""

    mean: Tensor
    """(Q, ...) mean of each number."""
    std: Tensor
    """(Q, ...) standard deviation of each number."""

    def log_prob(self, targets: Tensor) -> Tensor:
        """Return (Q,) log-densities of targets (Q, ...), summed over the numbers of a row."""
        check_targets(self.mean, targets)
        return normal_log_prob(targets.reshape(self.mean.shape), self.mean, self.std).flatten(1).sum(1)


class GaussianMixture(NamedTuple):
    """A mixture of L normal distributions of each row's numbers (say, one for each draw of a latent variable)."""

    means: Tensor
    """(Q, L, ...) mean of each number in each part of the mixture."""
    stds: Tensor
    """(Q, L, ...) standard deviation of each number in each part of the mixture."""
    log_weights: Tensor
    """(Q, L) logarithms of the parts' weights, which sum to one in each row."""

    @property
    def mean(self) -> Tensor:
        """Mean (Q, ...) of the mixture."""
        return (self._weights() * self.means).sum(1)

    @property
    def std(self) -> Tensor:
        """Standard deviation (Q, ...) of the mixture: the law of total variance."""
        spread = self.means - self.mean.unsqueeze(1)
        return (self._weights() * (self.stds.square() + spread.square())).sum(1).sqrt()

    def log_prob(self, targets: Tensor) -> Tensor:
        """Return (Q,) log-densities of targets (Q, ...) under the mixture of joint densities of a row."""
        check_targets(self.means[:, 0], targets)
        wanted = targets.reshape(self.means[:, 0].shape).unsqueeze(1)
        each = normal_log_prob(wanted, self.means, self.stds).flatten(2).sum(2)
        return torch.logsumexp(self.log_weights + each, 1)

    def _weights(self) -> Tensor:
        weights = self.log_weights.exp()
        return weights.reshape(*weights.shape, *(1,) * (self.means.ndim - 2))


Predictive = (Gaussian, GaussianMixture)
"""The kinds of prediction that have `mean`, `std` and `log_prob`."""


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log-density of each x under a normal distribution."""
    return -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)


def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """Return () KL(p || q) in nats, summed over all numbers."""
    ratio = (p.std / q.std).square()
    gap = ((p.mean - q.mean) / q.std).square()
    return 0.5 * (ratio + gap - 1 - ratio.log()).sum()


def point(outputs: Any) -> Tensor:
    """Return outputs themselves, or the mean (Q, ...) of predictions that carry their uncertainty."""
    mean: Tensor = outputs.mean if isinstance(outputs, Predictive) else outputs
    return mean


def check_targets(outputs: Tensor, targets: Tensor) -> None:
    """Raise InputError unless outputs and targets hold as many numbers, in rows of as many.

    Both are (rows, ...) of one task, or (T, rows, ...) of several.
    """
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"the net returns a {type(outputs).__name__}, and targets are compared with one tensor; return the outputs "
            "alone"
        )
    fits = outputs.numel() == targets.numel() and outputs.ndim > 0 and outputs.shape[0] == targets.shape[0]
    if not fits:
        raise InputError(
            f"outputs {tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}; build the net with "
            "as many outputs as a row has targets"
        )


def check_logits(outputs: Any, labels: Tensor) -> None:
    """Raise InputError unless outputs are logits (S, N, ...) of labels (S, ...), so that each has its own."""
    if not isinstance(outputs, Tensor):
        raise InputError(f"classes need logits (S, N), one tensor, not a {type(outputs).__name__}")
    shape = tuple(outputs.shape)
    if outputs.ndim < 2 or (shape[0], *shape[2:]) != tuple(labels.shape):
        raise InputError(
            f"logits {shape} do not fit labels {tuple(labels.shape)}: each row needs one class, shape (S,), and logits "
            "(S, N)"
        )
