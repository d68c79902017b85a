"""How sure a mean over seeds and tasks is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quickstudy.evaluation import interval95


def interval(values: np.ndarray[Any, Any]) -> float:
    """Return the half-width of the 95 % interval of the mean of values (seeds, T), for new tasks and new seeds.

    Tasks are the same for all seeds, so their part is that of each task's mean over seeds; the seeds' part, by
    Student's t of so few, is added in squares. With one seed there is none.
    """
    over_tasks = interval95(values.mean(0))
    if len(values) < 2:
        return over_tasks
    return math.hypot(over_tasks, interval95(values.mean(1)))
