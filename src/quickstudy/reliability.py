"""Whether a learner's uncertainty can be relied on: coverage of intervals and sets, and what abstaining is worth.

For regression the central interval of a level (0.9: from the 5 % to the 95 % point of what is predicted) should
hold that share of targets. For classification the same is asked of prediction sets: classes in order of probability
until they hold the level, the last one only as often as it takes to hold it exactly, so that true probabilities give
exact coverage however few classes there are (Romano et al. 2020, "Classification with Valid and Adaptive Coverage",
section 2, without the conformal step).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.errors import InputError
from quickstudy.evaluation import BANK_SEED, _batches, _keys, _mask, chunk_size
from quickstudy.functional.predictive import Gaussian, GaussianMixture, Predictive
from quickstudy.tasks.base import TaskDistribution


@dataclass(frozen=True)
class Reliability:
    """What `reliability` found, over the queries of all tasks.

    Attributes:
        level: asked of the intervals or sets.
        coverage: share of targets that they hold.
        size: mean width of the intervals, or mean number of classes in the sets.
        log_likelihood: mean, nats a query.
        share: (P,) shares of queries answered, 0 to 1, the surest first.
        risk: (P,) the error on them: share of wrong classes, or mean squared error.
    """

    level: float
    coverage: float
    size: float
    log_likelihood: float
    share: np.ndarray[Any, Any]
    risk: np.ndarray[Any, Any]

    @property
    def area(self) -> float:
        """Mean risk over all shares, the area under the risk-coverage curve (El-Yaniv & Wiener 2010)."""
        return float(self.risk.mean())

    def __str__(self) -> str:
        return (
            f"{self.level:.0%} intervals hold {self.coverage:.1%}, size {self.size:.3g}; log-likelihood "
            f"{self.log_likelihood:.3f}; error {self.risk[-1]:.3g}, of the surer half "
            f"{self.risk[len(self.risk) // 2 - 1]:.3g}"
        )


def reliability(
    learner: Learner,
    distribution: TaskDistribution,
    tasks: int = 600,
    *,
    level: float = 0.9,
    noise: float | None = None,
    seed: int = BANK_SEED,
    points: int = 50,
) -> Reliability:
    """Measure a learner's uncertainty on a fixed bank of tasks.

    Args:
        learner: classifies, or predicts distributions of one target a row.
        distribution: where tasks come from.
        tasks: number of tasks.
        level: of intervals and prediction sets, between 0 and 1.
        noise: standard deviation given to predictions that are points; None refuses them.
        seed: the bank's seed.
        points: of the risk-coverage curve.

    Raises:
        InputError: a level outside (0, 1), or predictions without uncertainty and no `noise`.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, not {level}")
    bank, found, training = distribution.bank(tasks, seed), [], learner.training
    learner.eval()
    try:
        with torch.no_grad():
            for indices in _batches(range(0, tasks, chunk_size(bank)), tasks, bank):
                batch = bank.draw(indices)
                states = batching.adapt(learner, batch.support, _keys(indices, seed, torch.device("cpu")))
                outputs, mask = batching.predict(learner, states, batch.query.inputs), _mask(batch.query)
                if not batch.query.labels.dtype.is_floating_point:
                    rows = of_classes(outputs[mask].double(), batch.query.labels[mask], level)
                else:
                    if not isinstance(outputs, Predictive):
                        if noise is None:
                            raise InputError("predictions are points, without uncertainty; give them one by noise=...")
                        outputs = Gaussian(outputs, torch.full_like(outputs, noise))
                    flat = type(outputs)(*(part[mask].double() for part in outputs))
                    rows = of_targets(flat, batch.query.labels[mask].double(), level)
                found.append(rows)
    finally:
        learner.train(training)
    held, size, likelihood, sureness, error = torch.cat(found, 1)
    ordered = error[sureness.argsort(descending=True, stable=True)].cumsum(0) / torch.arange(1, len(error) + 1)
    ends = (torch.arange(1, points + 1) * len(error)) // points
    return Reliability(
        level,
        float(held.mean()),
        float(size.mean()),
        float(likelihood.mean()),
        (ends / len(error)).numpy(),
        ordered[ends - 1].numpy(),
    )


def of_classes(logits: Tensor, labels: Tensor, level: float) -> Tensor:
    """Return (5, rows): the probability that the set holds the label, its size, log-likelihood, sureness and error."""
    log_p = torch.log_softmax(logits, 1)
    p, order = log_p.exp().sort(1, descending=True)
    before = p.cumsum(1) - p
    # How often each class, in order of probability, is in the set: the one that crosses the level only in part.
    included = ((level - before) / p.clamp_min(1e-300)).clamp(0, 1)
    at = (order == labels.unsqueeze(1)).double()
    right = order[:, 0] == labels
    likelihood = log_p.gather(1, labels.unsqueeze(1)).squeeze(1)
    return torch.stack([(included * at).sum(1), included.sum(1), likelihood, p[:, 0], 1 - right.double()])


def of_targets(outputs: Gaussian | GaussianMixture, targets: Tensor, level: float) -> Tensor:
    """Return (5, rows): whether the interval holds the target, its width, log-likelihood, sureness and error."""
    if targets[0].numel() != 1:
        raise InputError(f"intervals are of one target a row, not {targets[0].numel()}")
    low, high = (quantile(outputs, (1 + sign * level) / 2) for sign in (-1, 1))
    y, mean, std = targets.flatten(), outputs.mean.flatten(), outputs.std.flatten()
    held = ((low <= y) & (y <= high)).double()
    return torch.stack([held, high - low, outputs.log_prob(targets), -std, (mean - y).square()])


def quantile(outputs: Gaussian | GaussianMixture, share: float) -> Tensor:
    """Return (rows,) the points below which a share of each predicted distribution lies, by bisection."""
    if isinstance(outputs, Gaussian):
        means, stds = outputs.mean.flatten().unsqueeze(1), outputs.std.flatten().unsqueeze(1)
        weights = torch.ones_like(means)
    else:
        means, stds, weights = outputs.means.flatten(1), outputs.stds.flatten(1), outputs.log_weights.exp()
    low, high = (means - 40 * stds).amin(1), (means + 40 * stds).amax(1)
    for _ in range(60):
        middle = (low + high) / 2
        below = (weights * 0.5 * (1 + torch.erf((middle.unsqueeze(1) - means) / (stds * math.sqrt(2))))).sum(1)
        low, high = torch.where(below < share, middle, low), torch.where(below < share, high, middle)
    return (low + high) / 2
