"""How sure a mean over runs and tasks is: several runs of a method, all judged on the same tasks.

Shapes: R runs, T tasks. Runs and tasks are crossed random effects without replication, so that with the mean squares of
runs, tasks and residuals (MS_r, MS_t, MS_e) of a two-way analysis of variance the variance of the grand mean is

    (max(MS_r - MS_e, 0) + MS_t) / (R T)

(Searle, Casella & McCulloch 1992, Variance Components), with degrees of freedom after Satterthwaite (1946). An
interval over tasks alone would say how well these very runs do, not the method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from quickstudy.errors import InputError
from quickstudy.evaluation.statistics import interval95

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Estimate:
    """A mean and the half-width of its 95 % interval."""

    mean: float
    interval: float


@dataclass(frozen=True)
class _Spread:
    """What runs add to the variance of a mean: `runs - residual`, or nothing where that is negative.

    Attributes:
        runs: the variance of run means (1/T MS_r).
        residual: the part of it that tasks explain (1/T MS_e).
        degrees: degrees of freedom of both.
    """

    runs: float
    residual: float
    degrees: tuple[float, float]

    def terms(self, count: int) -> list[tuple[float, float]]:
        """Return signed terms of the variance of a mean over so many runs, each with its degrees of freedom."""
        if self.runs <= self.residual:
            return []
        return [(self.runs / count, self.degrees[0]), (-self.residual / count, self.degrees[1])]


def over_runs(values: Values) -> Estimate:
    """Return the mean of values (R, T) with its interval over runs and tasks; over tasks alone for one run.

    Tasks in which a value is nan do not count.
    """
    values = _counted(values)
    runs, tasks = values.shape
    mean = float(values.mean()) if tasks else math.nan
    if runs < 2 or tasks < 2:
        return Estimate(mean, interval95(values.mean(0)))
    return Estimate(mean, _half([(_of_tasks(values.mean(0)), tasks - 1.0), *_spread(values).terms(runs)]))


def difference_over_runs(first: Values, second: Values, fixed: tuple[bool, bool] = (False, False)) -> Estimate:
    """Return the mean difference of two methods, first minus second, paired by task, over the runs of each.

    Where one method has a single run and the other several, its runs are taken to spread as the other's.

    Args:
        first: (R, T) values of runs of one method.
        second: (R', T) values of runs of the other, on the same tasks.
        fixed: whether each method has nothing random, so that further runs would be the same.

    Raises:
        InputError: the numbers of tasks differ.
    """
    if first.shape[1] != second.shape[1]:
        raise InputError("the methods were evaluated on different numbers of tasks; use one bank")
    rows = len(first)
    both = _counted(np.concatenate([first, second]))
    first, second = both[:rows], both[rows:]
    gap = first.mean(0) - second.mean(0)
    mean = float(gap.mean()) if len(gap) else math.nan
    sides = [each for each, same in zip((first, second), fixed, strict=True) if not same]
    known = {len(each): _spread(each) for each in sides if len(each) > 1}
    if not known or len(gap) < 2:
        return Estimate(mean, interval95(gap))
    widest = max(known.values(), key=lambda each: each.runs - each.residual)
    terms = [(_of_tasks(gap), len(gap) - 1.0)]
    for each in sides:
        terms += (_spread(each) if len(each) > 1 else widest).terms(len(each))
    return Estimate(mean, _half(terms))


def _counted(values: Values) -> Values:
    return values[:, ~np.isnan(values).any(0)]


def _of_tasks(means: Values) -> float:
    return float(means.var(ddof=1)) / len(means)


def _spread(values: Values) -> _Spread:
    runs, tasks = values.shape
    by_run, by_task = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    left = values - by_run - by_task + values.mean()
    degrees = float((runs - 1) * (tasks - 1))
    return _Spread(float(by_run.var(ddof=1)), float((left**2).sum() / degrees / tasks), (runs - 1.0, degrees))


def _half(terms: list[tuple[float, float]]) -> float:
    """Return the half-width of the interval of a mean whose variance is a sum of terms, each with its degrees."""
    variance = sum(term for term, _ in terms)
    if not variance > 0:
        return 0.0
    degrees = variance**2 / sum(term**2 / own for term, own in terms)
    return float(stats.t.ppf(0.975, degrees) * math.sqrt(variance))
