"""Whether a learner's uncertainty can be relied on: coverage of intervals and sets, and what abstaining is worth."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, Output
from quickstudy.errors import InputError
from quickstudy.evaluation.bank_loop import BANK_SEED, predictions
from quickstudy.evaluation.metrics.rows import check_logits, points_and_targets, row_mask
from quickstudy.evaluation.statistics import interval95
from quickstudy.functional.coverage import Rows, of_classes, of_targets
from quickstudy.functional.numbers import real, whole
from quickstudy.functional.predictive import Gaussian, Predictive
from quickstudy.tasks.base import TaskDistribution

LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Levels of the calibration curve."""
Vector = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reliability:
    """Result of `reliability`. Means are over tasks, in which every query counts alike.

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
        """Mean log-likelihood, in nats per query."""
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
        level: level of intervals and prediction sets, between 0 and 1.
        noise: standard deviation given to predictions that are points; None refuses them.
        seed: the bank's seed; a `Bank` keeps its own.
        points: number of points of the risk-coverage curve.

    Raises:
        InputError: a level outside (0, 1), a number out of its range, or what `refuses` says.
        NonFiniteError: predictions are NaN or infinite.
    """
    try:
        real("level", level, above=0, below=1)
    except InputError as error:
        raise InputError(f"level must lie between 0 and 1, not {level!r}") from error
    points, noise = whole("points", points), None if noise is None else real("noise", noise, above=0)
    found, numbers = [], []
    with closing(predictions(learner, distribution, tasks, seed)) as predicted:
        for indices, _, outputs, batch in predicted:
            judged, mask = _judged(outputs, batch.query, level, noise), row_mask(batch.query)
            found.append(torch.stack(judged).cpu())
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


def refuses(outputs: Output, query: Examples, noise: float | None = None) -> str | None:
    """Return why predictions (T, Q, ...) for the queries of tasks cannot be judged, or None if they can."""
    if not query.labels.dtype.is_floating_point:
        if query.labels.ndim == 2:
            return None
        return f"prediction sets are of one label a row; labels {tuple(query.labels.shape)} have more"
    if query.labels[0, 0].numel() != 1:
        return f"intervals are of one target a row, not {query.labels[0, 0].numel()}"
    if noise is None and not isinstance(outputs, Predictive):
        return "predictions are points, without uncertainty; give them one by noise=..."
    return None


def _judged(outputs: Output, query: Examples, level: float, noise: float | None) -> Rows:
    """Return what is said of all rows that count."""
    why, mask = refuses(outputs, query, noise), row_mask(query)
    if why is not None:
        raise InputError(why)
    if query.labels.dtype.is_floating_point:
        points_and_targets(outputs, query)
    else:
        check_logits(outputs, query)
    flat, labels = _flat(outputs, mask, noise), query.labels[mask]
    return of_classes(flat, labels, level) if isinstance(flat, Tensor) else of_targets(flat, labels.double(), level)


def _flat(outputs: Output, mask: Tensor, noise: float | None) -> Any:
    """Return the predictions of all rows that count."""
    if isinstance(outputs, Predictive):
        return type(outputs)(*(part[mask].double() for part in outputs))
    rows = outputs[mask].double()
    return rows if noise is None else Gaussian(rows, torch.full_like(rows, noise))


def _by_task(values: Tensor, number: Tensor) -> Tensor:
    """Return the mean of the rows of each task that has any."""
    count = torch.bincount(number)
    sums = torch.bincount(number, values)
    return sums[count > 0] / count[count > 0]
