"""How sure a mean over tasks is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats


def interval95(values: np.ndarray[Any, Any]) -> float:
    """Return the half-width of the 95 % Student-t interval of the mean of values (n,)."""
    n = len(values)
    if n < 2:
        return math.inf
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
