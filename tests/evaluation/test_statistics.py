"""Intervals against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from quickstudy.evaluation import interval95


def test_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=30)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert interval95(values) == pytest.approx((high - low) / 2)
    assert interval95(np.array([1.0])) == math.inf
    assert interval95(np.ones(5)) == 0
