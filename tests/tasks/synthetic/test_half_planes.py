"""Half planes: tasks whose support leaves several answers open."""

import math

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.tasks import HalfPlanes
from quickstudy.tasks.synthetic.half_planes import exact, open_arc


def test_labels_are_sides_of_one_line() -> None:
    tasks = HalfPlanes(shots=2, queries=10)
    plan = tasks.plan(torch.arange(50))
    batch = tasks.gather(plan)
    for rows in (batch.support, batch.query):
        for angle, xs, ys in zip(plan["angle"].tolist(), rows.inputs.tolist(), rows.labels.tolist(), strict=True):
            for x, y in zip(xs, ys, strict=True):
                assert y == (math.cos(angle) * x[0] + math.sin(angle) * x[1] > 0)
    assert batch.support.labels.tolist() == [[0, 0, 1, 1]] * 50


def truth(batch):
    return qs.batching.map_tasks(lambda task: exact(open_arc(task.support), task.query.inputs), batch)


def test_true_probabilities_are_how_often_class_one_is_right() -> None:
    batch = HalfPlanes(shots=1, queries=40).batch(0, 600)
    found, labels = truth(batch), batch.query.labels.double()
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        rows = (found >= low) & (found <= low + 0.2)
        assert float(labels[rows].mean()) == pytest.approx(float(found[rows].mean()), abs=0.03)
    # The support itself is certain.
    own = qs.batching.map_tasks(lambda task: exact(open_arc(task.support), task.support.inputs), batch)
    torch.testing.assert_close(own, torch.tensor([0.0, 1.0]).expand(600, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shots", [1, 3])
def test_true_probabilities_are_those_of_all_angles_on_a_grid(shots: int) -> None:
    batch = qs.batching.to_dtype(HalfPlanes(shots=shots, queries=30).batch(0, 40), torch.float64)
    grid = (torch.arange(20000, dtype=torch.float64) + 0.5) * (2 * math.pi / 20000)
    normals = torch.stack([grid.cos(), grid.sin()])
    sides = batch.support.inputs @ normals > 0
    fits = (sides.long() == batch.support.labels.unsqueeze(2)).all(1, keepdim=True)
    wanted = ((batch.query.inputs @ normals > 0) & fits).sum(2) / fits.sum(2)
    rows = fits.sum(2).expand_as(wanted) > 200  # of a narrower arc the grid says little
    assert float(rows.double().mean()) > 0.9
    torch.testing.assert_close(truth(batch)[rows], wanted[rows].double(), atol=0.01, rtol=0)


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="must be positive"):
        HalfPlanes(shots=0)
