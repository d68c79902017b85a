"""Comparing: learners on the same tasks, and tasks of seen classes with those of new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quickstudy.core import Learner
from quickstudy.errors import InputError
from quickstudy.evaluation.bank_loop import BANK_SEED
from quickstudy.evaluation.evaluating import evaluate
from quickstudy.evaluation.results import Difference, Report
from quickstudy.evaluation.statistics import interval95
from quickstudy.tasks.base import Bank, TaskDistribution


def compare(
    learners: Mapping[str, Learner], distribution: TaskDistribution, tasks: int = 1000, **options: Any
) -> tuple[dict[str, Report], list[Difference]]:
    """Evaluate several learners on the same bank; return their reports and all paired differences.

    Args:
        learners: by name.
        distribution: as for `evaluate`.
        tasks: as for `evaluate`.
        options: further arguments of `evaluate`.
    """
    bank = distribution if isinstance(distribution, Bank) else distribution.bank(tasks, options.get("seed", BANK_SEED))
    reports = {name: evaluate(learner, bank, tasks, **options) for name, learner in learners.items()}
    return reports, differences(reports)


def differences(reports: Mapping[str, Report]) -> list[Difference]:
    """Return the paired differences of reports of the same tasks, each pair once.

    Tasks for which a partial metric is undefined in either report do not count.
    """
    names = list(reports)
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if len(reports[first].values) != len(reports[second].values):
                raise InputError(f"'{first}' and '{second}' were evaluated on different numbers of tasks; use one bank")
            gap = reports[first].values - reports[second].values
            if reports[first].entry.partial:
                gap = gap[~np.isnan(gap)]
            mean = float(gap.mean()) if len(gap) else math.nan
            found.append(Difference(first, second, mean, interval95(gap)))
    return found


def overfitting_gap(
    learner: Learner, seen: TaskDistribution, new: TaskDistribution, tasks: int = 600, **options: Any
) -> tuple[Report, Report, float]:
    """Return the reports on tasks of training classes and of new classes, and the gap of their means (unpaired).

    A gap far above its interval is meta-overfitting: the learner knows its training classes, not how to learn.
    """
    first, second = evaluate(learner, seen, tasks, **options), evaluate(learner, new, tasks, **options)
    return first, second, first.mean - second.mean
