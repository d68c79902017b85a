"""Metrics of acting again: the query is what a policy meets, and the answers are the rewards that it collected there.

Row q of a query is an episode. The answers of its policy are its rewards (T, Q), or (T, Q, L) where it has L steps.
"""

from __future__ import annotations

from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Output
from quickstudy.evaluation.metrics.base import metric
from quickstudy.evaluation.metrics.rows import mean_of_rows
from quickstudy.functional.predictive import point


@metric("return", label="Return", partial=True)
def returned(outputs: Output, query: Examples) -> Tensor:
    """Return the mean over episodes of the sum of their rewards, undiscounted."""
    return mean_of_rows(_sums(outputs), query)


@metric("regret", label="Regret", lower_is_better=True, partial=True)
def regret(outputs: Output, query: Examples) -> Tensor:
    """Return the mean over episodes of what the best policy collects, which the labels say, minus what was collected.

    Labels are the best return (T, Q) of each episode, or the best reward at each step (T, Q, L).
    """
    return mean_of_rows(_sums(query.labels) - _sums(outputs), query)


def _sums(rewards: Output) -> Tensor:
    """Return (T, Q) float64 the sum of each row's rewards."""
    found: Tensor = batching.map_tasks(point, rewards)
    return found.double().reshape(*found.shape[:2], -1).sum(2)
