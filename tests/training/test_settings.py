"""How far a run has come."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.evaluation import Report
from quickstudy.training.settings import Settings, Standing


def found(metric: str, value: float) -> Report:
    return Report(metric, np.array([value]))


def test_the_best_is_the_latest_of_equals() -> None:
    learner = qs.learners.ProtoNet(torch.nn.Linear(2, 2))
    standing, kept = Standing(), []
    for step, value in enumerate([0.5, 0.4, 0.5, 0.3, 0.3], start=1):
        standing.step = step
        torch.nn.init.constant_(learner.net.weight, step)
        kept.append((standing.take(found("accuracy", value), learner), standing.best_step, standing.since_best))
    assert kept == [(True, 1, 0), (False, 1, 1), (True, 3, 2), (False, 3, 3), (False, 3, 4)]
    assert standing.best_weights is not None
    assert bool((standing.best_weights["net.weight"] == 3).all())
    assert standing.best == 0.5
    assert [standing.stopped(patience) for patience in (None, 4, 5)] == [False, True, False]


def test_errors_are_better_the_lower_they_are() -> None:
    learner, standing = qs.learners.ProtoNet(torch.nn.Linear(2, 2)), Standing()
    assert [standing.take(found("mse", value), learner) for value in (2.0, 3.0, 1.0)] == [
        True,
        False,
        True,
    ]


def test_survives_a_checkpoint() -> None:
    for best in (math.nan, 0.25):
        standing = Standing(7, best, 4, 2, [{"step": 7, "loss": 0.5}])
        again = Standing.of(standing.content(), None)
        assert again.content() == standing.content()
        assert math.isnan(again.best) == math.isnan(best)


def test_what_was_asked_does_not_change() -> None:
    assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(Settings))
    asked = Settings(**dict.fromkeys((field.name for field in dataclasses.fields(Settings)), None))
    with pytest.raises(dataclasses.FrozenInstanceError):
        asked.steps = 3  # type: ignore[misc]
