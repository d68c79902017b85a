"""Learners on the same tasks, and tasks of seen and new classes."""

from typing import Any

import numpy as np
import pytest

import quickstudy as qs
from quickstudy.evaluation import Report, differences, interval95
from quickstudy.learners import NearestNeighbour, ProtoNet
from quickstudy.testing.specimens import mlp
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def tasks(**options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(DATA, **{"ways": 3, "shots": 1, "queries": 4, **options})


def test_same_bank_for_every_learner() -> None:
    learners = {"a": ProtoNet(mlp()), "b": ProtoNet(mlp()), "nearest": NearestNeighbour()}
    learners["b"].load_state_dict(learners["a"].state_dict())
    reports, gaps = qs.compare(learners, tasks(), 25)
    assert np.array_equal(reports["a"].values, reports["b"].values)
    assert [(gap.first, gap.second) for gap in gaps] == [("a", "b"), ("a", "nearest"), ("b", "nearest")]
    values = reports["a"].values - reports["nearest"].values
    assert gaps[1].mean == pytest.approx(values.mean())
    assert gaps[1].interval == pytest.approx(interval95(values))
    assert gaps[1].significant == (abs(gaps[1].mean) > gaps[1].interval)
    assert "(95 %, paired)" in str(gaps[1])
    assert np.array_equal(qs.evaluate(learners["a"], tasks(), 25).values, reports["a"].values)
    # Another seed of the training stream makes no difference to the bank, another seed of the bank does.
    assert np.array_equal(qs.evaluate(learners["a"], tasks(seed=9), 25).values, reports["a"].values)
    assert not np.array_equal(qs.evaluate(learners["a"], tasks(), 25, seed=1).values, reports["a"].values)
    seeded, _ = qs.compare(learners, tasks(), 25, seed=1)
    assert np.array_equal(seeded["a"].values, qs.evaluate(learners["a"], tasks(), 25, seed=1).values)


def test_paired_differences_are_narrower() -> None:
    shared = np.random.default_rng(1).normal(size=200)
    first = Report("accuracy", shared + 0.1)
    second = Report("accuracy", shared + 0.01 * np.random.default_rng(2).normal(size=200))
    (gap,) = differences({"x": first, "y": second})
    assert gap.significant
    assert gap.interval < 0.1 * first.interval


def test_overfitting_gap() -> None:
    learner = ProtoNet(mlp())
    seen, new, gap = qs.overfitting_gap(learner, tasks(), qs.tasks.FewShot(make_blobs(9), ways=3, queries=4), 10)
    assert gap == pytest.approx(seen.mean - new.mean)
