"""Intervals over runs and tasks: what they cover, and what they are in special cases."""

import numpy as np
import pytest

from quickstudy.errors import InputError
from quickstudy.evaluation.over_runs import difference_over_runs, over_runs
from quickstudy.evaluation.statistics import interval95


def draws(rng, runs, tasks, of_runs, of_tasks, rest, shared=None):
    """Return values (runs, tasks) with mean 0.5, and the effects of the tasks."""
    effects = of_tasks * rng.standard_normal(tasks) if shared is None else shared
    noise = rest * rng.standard_normal((runs, tasks))
    return 0.5 + of_runs * rng.standard_normal((runs, 1)) + effects + noise, effects


@pytest.mark.parametrize(
    ("runs", "of_runs", "of_tasks", "rest"), [(3, 0.02, 0.1, 0.1), (5, 0.05, 0.1, 0.05), (4, 0.0, 0.1, 0.1)]
)
def test_an_interval_covers_the_mean_of_all_runs_and_tasks(runs, of_runs, of_tasks, rest):
    rng = np.random.default_rng(0)
    found = [over_runs(draws(rng, runs, 60, of_runs, of_tasks, rest)[0]) for _ in range(600)]
    covered = np.mean([abs(each.mean - 0.5) <= each.interval for each in found])
    assert 0.92 < covered < 0.99
    if of_runs == 0.05:
        # What an interval over tasks alone would cover.
        naive = [draws(rng, runs, 60, of_runs, of_tasks, rest)[0].mean(0) for _ in range(300)]
        assert np.mean([abs(each.mean() - 0.5) <= interval95(each) for each in naive]) < 0.8


def test_an_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(1)
    right = wrong = 0
    for _ in range(600):
        first, shared = draws(rng, 3, 60, 0.04, 0.1, 0.05)
        second, _ = draws(rng, 4, 60, 0.04, 0.1, 0.05, shared)
        found = difference_over_runs(first, second)
        assert found.mean == pytest.approx(first.mean() - second.mean())
        right += abs(found.mean) <= found.interval
        # Two seeds of one method, each for itself: over tasks alone they differ most of the time.
        gap = first[0] - first[1]
        wrong += abs(gap.mean()) > interval95(gap)
    assert 0.92 < right / 600 < 0.99
    assert wrong / 600 > 0.5


def test_one_run_gives_the_interval_over_tasks():
    rng = np.random.default_rng(2)
    values, other = rng.random((1, 20)), rng.random((1, 20))
    assert over_runs(values).interval == interval95(values[0])
    found = difference_over_runs(values, other)
    assert found.interval == interval95(values[0] - other[0])
    assert found.mean == float((values[0] - other[0]).mean())


def test_a_single_run_is_taken_to_spread_as_the_others_unless_nothing_in_it_is_random():
    rng = np.random.default_rng(3)
    first, shared = draws(rng, 4, 50, 0.05, 0.1, 0.02)
    second, _ = draws(rng, 1, 50, 0.0, 0.1, 0.02, shared)
    spread = difference_over_runs(first, second).interval
    fixed = difference_over_runs(first, second, (False, True)).interval
    assert spread > 1.5 * fixed > interval95(first.mean(0) - second[0])


def test_equal_runs_and_undefined_tasks():
    values = np.array([[0.0, 1.0, np.nan, 0.5], [0.0, 1.0, 1.0, 0.5]])
    assert over_runs(values).mean == 0.5
    assert over_runs(values).interval == pytest.approx(interval95(np.array([0.0, 1.0, 0.5])))
    assert difference_over_runs(values, values).interval == 0
    with pytest.raises(InputError, match="one bank"):
        difference_over_runs(values, values[:, :3])
