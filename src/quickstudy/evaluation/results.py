"""Results of evaluations: the report of one learner, and the paired difference of two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quickstudy.errors import InputError
from quickstudy.evaluation.metrics.base import Metric, find_metric
from quickstudy.evaluation.statistics import interval95
from quickstudy.functional import notebook


@dataclass(frozen=True)
class Report:
    """Result of an evaluation. `print` it, or read its numbers.

    Attributes:
        metric: the name of a metric.
        values: the metric of each task, nan where it is undefined.
        curve: mean metric after 0, 1, ... inner steps, for gradient-based learners; else empty. It is nan after steps
            at which the inner loop has diverged in a task.
        calibration: expected calibration error (15 bins, Guo et al. 2017, equation 3), nan for regression.
        reliability: (bins, 3) confidence, accuracy and share of queries of each bin.
        presentations: (T, P) for sequences, each task's accuracy at the 1st, 2nd, ... presentation of a class, nan
            where it has none; `values` and `calibration` then leave out the 1st, at which a class cannot be named.
        batch_norm: the batch normalisation policy.
        learner: its name.
        tasks: what was evaluated on (`TaskDistribution.describe`).
    """

    metric: str
    values: np.ndarray[Any, Any]
    curve: tuple[float, ...] = ()
    calibration: float = math.nan
    reliability: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 3)))
    presentations: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 0)))
    batch_norm: str = "none"
    learner: str = ""
    tasks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> Metric:
        """The metric, which knows its direction, label and unit."""
        return find_metric(self.metric)

    @property
    def counted(self) -> np.ndarray[Any, Any]:
        """The values of the tasks that count in means: all, or those for which a partial metric is defined."""
        return self.values[~np.isnan(self.values)] if self.entry.partial else self.values

    @property
    def mean(self) -> float:
        """Mean of the metric over the tasks that count; nan if there are none."""
        counted = self.counted
        return float(counted.mean()) if len(counted) else math.nan

    @property
    def accuracy(self) -> float:
        """Mean accuracy; an error for regression."""
        if self.metric != "accuracy":
            raise InputError(f"this report is of {self.metric}, not accuracy; read .mean")
        return self.mean

    @property
    def interval(self) -> float:
        """Half-width of the 95 % interval of the mean."""
        return interval95(self.counted)

    @property
    def presentation_curve(self) -> list[tuple[float, float]]:
        """Mean accuracy at each presentation and the half-width of its 95 % interval; empty unless sequential."""
        columns = [column[~np.isnan(column)] for column in self.presentations.T]
        return [(float(column.mean()) if len(column) else math.nan, interval95(column)) for column in columns]

    def gain(self, over: float) -> float:
        """Return by how much the mean is better than a value; negative where it is worse."""
        return self.entry.gain(self.mean, over)

    def __str__(self) -> str:
        counted, every = len(self.counted), len(self.values)
        tasks = f"{every} tasks" if counted == every else f"{counted} of {every} tasks"
        text = f"{self.metric} {self.mean:.3f} +/- {self.interval:.3f} (95 % interval, {tasks})"
        return text if self.batch_norm == "none" else f"{text}, batch norm: {self.batch_norm}"

    def __repr__(self) -> str:
        return f"Report({self.learner}: {self})"

    def _repr_html_(self) -> str:
        facts: dict[str, Any] = {"learner": self.learner, self.metric: f"{self.mean:.4g} ± {self.interval:.2g} (95 %)"}
        facts |= {"tasks": len(self.counted)}
        if not math.isnan(self.calibration):
            facts["expected calibration error"] = f"{self.calibration:.3f}"
        return notebook.table(facts) + notebook.curve(
            range(len(self.curve)), self.curve, f"{self.metric} by inner step"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "learner": self.learner,
            "metric": self.metric,
            "mean": _json(self.mean),
            "interval": _json(self.interval),
            "tasks": len(self.values),
            "counted": len(self.counted),
            "curve": [_json(mean) for mean in self.curve],
            "presentations": [{"mean": _json(mean), "interval": _json(half)} for mean, half in self.presentation_curve],
            "calibration": _json(self.calibration),
            "batch_norm": self.batch_norm,
            "distribution": dict(self.tasks),
        }


def _json(value: float) -> float | None:
    """Return a number as JSON has it, which knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Difference:
    """Paired difference of two learners' metrics on the same tasks: first minus second."""

    first: str
    second: str
    mean: float
    interval: float

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval excludes zero."""
        return abs(self.mean) > self.interval

    def __str__(self) -> str:
        return f"{self.first} - {self.second}: {self.mean:+.4f} +/- {self.interval:.4f} (95 %, paired)"
