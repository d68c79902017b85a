"""How far a prediction must be widened to hold the answer: intervals of targets, sets of classes.

For regression the central interval of a level (0.9: from the 5 % to the 95 % point of the prediction) should hold that
share of targets. For classification the same is asked of prediction sets, which take classes in order of probability
until they hold the level. The last class is included only as often as it takes to hold the level exactly, so that true
probabilities give exact coverage however few classes there are (Romano et al. 2020, "Classification with Valid and
Adaptive Coverage", section 2, without the conformal step).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.functional.predictive import Gaussian, GaussianMixture


class Rows(NamedTuple):
    """The judgement of each query; all tensors are (rows,)."""

    low: Tensor
    """Intervals or sets of this level and below never hold the answer."""
    high: Tensor
    """Intervals or sets of this level and above always hold the answer; from `low` to `high` they hold it in part."""
    size: Tensor
    """Width of the interval, or number of classes in the set."""
    likelihood: Tensor
    """Logarithm of the answer's likelihood, in nats."""
    sureness: Tensor
    """A number that is larger where the learner is surer."""
    error: Tensor
    """1 for a wrong class and 0 for the right one, or the squared error."""

    def held(self, level: float) -> Tensor:
        """Return (rows,) how much of each answer the intervals or sets of a level hold, 0 to 1."""
        return ((level - self.low) / (self.high - self.low).clamp_min(1e-300)).clamp(0, 1)


def of_classes(logits: Tensor, labels: Tensor, level: float) -> Rows:
    """Judge logits (rows, N) by labels (rows,)."""
    log_p = torch.log_softmax(logits, 1)
    p, order = log_p.exp().sort(1, descending=True)
    before = p.cumsum(1) - p
    # How often each class, in order of probability, is in the set: the one that crosses the level only in part.
    included = ((level - before) / p.clamp_min(1e-300)).clamp(0, 1)
    at = (order == labels.unsqueeze(1)).double()
    low, right = (before * at).sum(1), order[:, 0] == labels
    likelihood = log_p.gather(1, labels.unsqueeze(1)).squeeze(1)
    return Rows(low, low + (p * at).sum(1), included.sum(1), likelihood, p[:, 0], 1 - right.double())


def of_targets(outputs: Gaussian | GaussianMixture, targets: Tensor, level: float) -> Rows:
    """Judge predictions by targets (rows, 1)."""
    low, high = (quantile(outputs, (1 + sign * level) / 2) for sign in (-1, 1))
    y, mean, std = targets.flatten(), outputs.mean.flatten(), outputs.std.flatten()
    # The central interval that ends at the target.
    needed = (2 * below(outputs, y) - 1).abs()
    return Rows(needed, needed, high - low, outputs.log_prob(targets), -std, (mean - y).square())


def below(outputs: Gaussian | GaussianMixture, y: Tensor) -> Tensor:
    """Return (rows,) the share of each predicted distribution that lies below y (rows,)."""
    if isinstance(outputs, Gaussian):
        means, stds = outputs.mean.flatten().unsqueeze(1), outputs.std.flatten().unsqueeze(1)
        weights = torch.ones_like(means)
    else:
        means, stds, weights = outputs.means.flatten(1), outputs.stds.flatten(1), outputs.log_weights.exp()
    shares: Tensor = (weights * torch.special.ndtr((y.unsqueeze(1) - means) / stds)).sum(1)
    return shares


def quantile(outputs: Gaussian | GaussianMixture, share: float) -> Tensor:
    """Return (rows,) the points below which a share of each predicted distribution lies, by bisection."""
    means, stds = (outputs.mean, outputs.std) if isinstance(outputs, Gaussian) else (outputs.means, outputs.stds)
    low, high = (means - 40 * stds).flatten(1).amin(1), (means + 40 * stds).flatten(1).amax(1)
    for _ in range(50):
        middle = (low + high) / 2
        less = below(outputs, middle) < share
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return (low + high) / 2
