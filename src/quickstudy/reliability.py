"""Whether a learner's uncertainty can be relied on: coverage of intervals and sets, and what abstaining is worth.

For regression the central interval of a level (0.9: from the 5 % to the 95 % point of what is predicted) should
hold that share of targets. For classification the same is asked of prediction sets: classes in order of probability
until they hold the level, the last one only as often as it takes to hold it exactly, so that true probabilities give
exact coverage however few classes there are (Romano et al. 2020, "Classification with Valid and Adaptive Coverage",
section 2, without the conformal step).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, Output
from quickstudy.errors import InputError
from quickstudy.evaluation import BANK_SEED, chunk_size, device_of, interval95, task_batches, task_keys
from quickstudy.functional.predictive import Gaussian, GaussianMixture, Predictive
from quickstudy.scoring import row_mask
from quickstudy.tasks.base import Bank, TaskDistribution

LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Of the calibration curve."""
Vector = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """What is judged of each query; all (rows,)."""

    low: Tensor
    """Intervals or sets of this level and below never hold the answer"""
    high: Tensor
    """Those of this level and above always do; between the two they do so in part"""
    size: Tensor
    """Width of the interval, or number of classes in the set"""
    likelihood: Tensor
    """Logarithm, nats"""
    sureness: Tensor
    """Larger where the learner is surer"""
    error: Tensor
    """1 for a wrong class, or the squared error"""

    def held(self, level: float) -> Tensor:
        """Return (rows,) how much of each answer the intervals or sets of a level hold, 0 to 1."""
        return ((level - self.low) / (self.high - self.low).clamp_min(1e-300)).clamp(0, 1)


@dataclass(frozen=True)
class Reliability:
    """What `reliability` found. Means are over tasks, in which every query counts alike.

    Attributes:
        level: asked of the intervals or sets.
        held: (T,) share of each task's answers that they hold.
        size: mean width of the intervals, or mean number of classes in the sets.
        likelihoods: (T,) mean log-likelihood of each task's queries, nats.
        curve: (19, 2) each of `LEVELS` and the share held by intervals or sets of it.
        share: (P,) shares of queries answered, 0 to 1, the surest first.
        risk: (P,) the error on them: share of wrong classes, or mean squared error.
    """

    level: float
    held: Vector
    size: float
    likelihoods: Vector
    curve: Vector
    share: Vector
    risk: Vector

    @property
    def coverage(self) -> float:
        """Share of answers that the intervals or sets hold."""
        return float(self.held.mean())

    @property
    def log_likelihood(self) -> float:
        """Mean, nats a query."""
        return float(self.likelihoods.mean())

    @property
    def area(self) -> float:
        """Mean risk over all shares, the area under the risk-coverage curve (El-Yaniv & Wiener 2010)."""
        return float(self.risk.mean())

    def __str__(self) -> str:
        return (
            f"{self.level:.0%} intervals hold {self.coverage:.1%} +/- {interval95(self.held):.1%}, size "
            f"{self.size:.3g}; log-likelihood {self.log_likelihood:.3f} +/- {interval95(self.likelihoods):.3f}; error "
            f"{self.risk[-1]:.3g}, of the surer half {self.risk[len(self.risk) // 2 - 1]:.3g}"
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
        distribution: where tasks come from; a `Bank` is used as is.
        tasks: number of tasks.
        level: of intervals and prediction sets, between 0 and 1.
        noise: standard deviation given to predictions that are points; None refuses them.
        seed: the bank's seed.
        points: of the risk-coverage curve.

    Raises:
        InputError: a level outside (0, 1), predictions without uncertainty and no `noise`, or more than one target or
            label a row.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, not {level}")
    found, numbers = [], []
    for indices, outputs, query in predictions(learner, distribution, tasks, seed):
        mask = row_mask(query)
        flat = _flat(outputs, query, mask, noise)
        labels = query.labels[mask]
        rows = of_classes(flat, labels, level) if isinstance(flat, Tensor) else of_targets(flat, labels.double(), level)
        found.append(torch.stack(rows).cpu())
        numbers.append(indices.to(mask.device).unsqueeze(1).expand_as(mask)[mask].cpu())
    rows, number = Rows(*torch.cat(found, 1)), torch.cat(numbers)
    ordered = rows.error[rows.sureness.argsort(descending=True, stable=True)]
    ordered = ordered.cumsum(0) / torch.arange(1, len(ordered) + 1)
    ends = (torch.arange(1, points + 1) * len(ordered)) // points
    curve = [(each, float(_by_task(rows.held(each), number).mean())) for each in LEVELS]
    return Reliability(
        level,
        _by_task(rows.held(level), number).numpy(),
        float(_by_task(rows.size, number).mean()),
        _by_task(rows.likelihood, number).numpy(),
        np.array(curve),
        (ends / len(ordered)).numpy(),
        ordered[ends - 1].numpy(),
    )


def predictions(
    learner: Learner, distribution: TaskDistribution, tasks: int, seed: int = BANK_SEED
) -> Iterator[tuple[Tensor, Output, Examples]]:
    """Yield numbers of tasks, what a learner predicts for their queries, as in `evaluate`, and these; in chunks."""
    bank = distribution if isinstance(distribution, Bank) else distribution.bank(tasks, seed)
    tasks, training, device = min(tasks, len(bank)), learner.training, device_of(learner)
    bank.to(device)
    learner.eval()
    try:
        with torch.no_grad():
            for indices in task_batches(range(0, tasks, chunk_size(bank)), tasks, bank):
                batch = bank.draw(indices)
                states = batching.adapt(learner, batch.support, task_keys(indices, seed, device))
                yield indices, batching.predict(learner, states, batch.query.inputs), batch.query
    finally:
        learner.train(training)


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
    if targets[0].numel() != 1:
        raise InputError(f"intervals are of one target a row, not {targets[0].numel()}")
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


def _flat(outputs: Output, query: Examples, mask: Tensor, noise: float | None) -> Any:
    """Return the predictions of all rows that count."""
    if not query.labels.dtype.is_floating_point:
        if outputs.ndim != 3:
            raise InputError(f"prediction sets are of one label a row; predictions {tuple(outputs.shape)} have more")
        return outputs[mask].double()
    if not isinstance(outputs, Predictive):
        if noise is None:
            raise InputError("predictions are points, without uncertainty; give them one by noise=...")
        outputs = Gaussian(outputs, torch.full_like(outputs, noise))
    return type(outputs)(*(part[mask].double() for part in outputs))


def _by_task(values: Tensor, number: Tensor) -> Tensor:
    """Return the mean of the rows of each task that has any."""
    count = torch.bincount(number)
    sums = torch.bincount(number, values)
    return sums[count > 0] / count[count > 0]
