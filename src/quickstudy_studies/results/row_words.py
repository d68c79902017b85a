"""What a row says in numbers and words: its interval, its figure beside the published one, who trained its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quickstudy.evaluation import find_metric, interval95


def interval(values: np.ndarray[Any, Any]) -> float:
    """Return the half-width of the 95 % interval of the mean of values (seeds, T), for new tasks and new seeds.

    Tasks are the same for all seeds, so their part is that of each task's mean over seeds; the seeds' part, by
    Student's t of so few, is added in squares. With one seed there is none.
    """
    over_tasks = interval95(values.mean(0))
    if len(values) < 2:
        return over_tasks
    return math.hypot(over_tasks, interval95(values.mean(1)))


def summary(found: Mapping[str, Any]) -> str:
    """Return what came out in a line."""
    published = "" if found["published"] is None else f"; published {shown(found['published'], found['metric'])}"
    return (
        f"{found['row']}: {found['metric']} {shown(found['mean'], found['metric'])} +/- "
        f"{shown(found['interval'], found['metric'])} (95 %, {found['tasks']} tasks, {len(found['seeds'])} seeds)"
        f"{published}"
    )


def older(found: Mapping[str, Any]) -> list[str]:
    """Return a line that says so where another version trained the runs than the one that tested them."""
    trained, now = found["code"], found["tested_by"]
    return [] if trained == now else [f"Its runs were trained by {trained}, and tested by {now}."]


def shown(value: float, metric: str) -> str:
    """Return a number in the unit that papers report: shares in per cent, errors as they are."""
    return f"{100 * value:.2f} %" if find_metric(metric).is_share else f"{value:.3f}"
