"""Half planes: tasks whose support leaves several answers open."""

import math

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.tasks import HalfPlanes
from quickstudy.tasks.half_planes import exact


def test_labels_are_sides_of_one_line() -> None:
    tasks = HalfPlanes(shots=2, queries=10)
    plan = tasks.plan(torch.arange(50))
    batch = tasks.gather(plan)
    for rows in (batch.support, batch.query):
        for angle, xs, ys in zip(plan["angle"].tolist(), rows.inputs.tolist(), rows.labels.tolist(), strict=True):
            for x, y in zip(xs, ys, strict=True):
                assert y == (math.cos(angle) * x[0] + math.sin(angle) * x[1] > 0)
    assert batch.support.labels.tolist() == [[0, 0, 1, 1]] * 50


def test_true_probabilities_are_how_often_class_one_is_right() -> None:
    batch = HalfPlanes(shots=1, queries=40).batch(0, 600)
    supports = [qs.batching.select(batch, index).support for index in range(600)]
    found = torch.stack([exact(one, inputs) for one, inputs in zip(supports, batch.query.inputs, strict=True)])
    labels = batch.query.labels.double()
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        rows = (found >= low) & (found <= low + 0.2)
        assert float(labels[rows].mean()) == pytest.approx(float(found[rows].mean()), abs=0.03)
    # The support itself is certain.
    own = exact(qs.batching.select(batch, 0).support, batch.support.inputs[0])
    assert own.tolist() == [0, 1]


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="must be positive"):
        HalfPlanes(shots=0)
