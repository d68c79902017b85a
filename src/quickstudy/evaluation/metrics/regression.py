"""Metrics of targets: errors of the predicted means, and the log-likelihood of predictions with their uncertainty."""

from __future__ import annotations

from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Output
from quickstudy.errors import InputError
from quickstudy.evaluation.metrics.base import metric
from quickstudy.evaluation.metrics.rows import mean_of_rows, points_and_targets
from quickstudy.functional.predictive import Predictive


@metric("mse", label="Mean squared error", lower_is_better=True, predicts="targets", partial=True)
def mse(outputs: Output, query: Examples) -> Tensor:
    """Return the mean squared error."""
    means, targets = points_and_targets(outputs, query)
    return mean_of_rows((means - targets).double().square(), query)


@metric("rmse", label="Root mean squared error", lower_is_better=True, predicts="targets", partial=True)
def rmse(outputs: Output, query: Examples) -> Tensor:
    """Return the square root of each task's mean squared error."""
    return mse(outputs, query).sqrt()


@metric("mae", label="Mean absolute error", lower_is_better=True, predicts="targets", partial=True)
def mae(outputs: Output, query: Examples) -> Tensor:
    """Return the mean absolute error."""
    means, targets = points_and_targets(outputs, query)
    return mean_of_rows((means - targets).double().abs(), query)


@metric(
    "smape",
    label="Symmetric absolute percentage error",
    unit="%",
    lower_is_better=True,
    predicts="targets",
    partial=True,
)
def smape(outputs: Output, query: Examples) -> Tensor:
    """Return the symmetric percentage error: 200 times the mean of |p - y| / (|p| + |y|), from 0 to 200 %.

    A zero that is predicted exactly has no error (Makridakis & Hibon 2000, "The M3-Competition", appendix A).
    """
    means, targets = (each.double() for each in points_and_targets(outputs, query))
    size = means.abs() + targets.abs()
    return mean_of_rows((200 * (means - targets).abs() / size).where(size != 0, 0.0), query)


@metric("log_likelihood", label="Log-likelihood of a query", unit="nats", predicts="targets", partial=True)
def log_likelihood(outputs: Output, query: Examples) -> Tensor:
    """Return the mean log-density of a query's targets.

    Raises:
        InputError: predictions are points, or labels are classes.
    """
    points_and_targets(outputs, query)
    if not isinstance(outputs, Predictive):
        raise InputError(
            "a log-likelihood needs predictions that carry their uncertainty, and this learner's are points; "
            "evaluate it with metric='mse', or take a neural process"
        )
    rows: Tensor = batching.map_tasks(lambda found, wanted: found.log_prob(wanted), outputs, query.labels)
    return mean_of_rows(rows.double(), query)
