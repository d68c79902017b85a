"""Plots of many rows: what they measure, on tiny runs."""

import json
import shutil
from unittest.mock import patch

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.datasets.base import with_rotations
from quickstudy.registry import lookup
from quickstudy_studies.robustness import under_attack
from quickstudy_studies.sensitivity import METHODS, chosen, figure, judged, look, markdown
from quickstudy_studies.shared.grid import Grid, recipe
from quickstudy_studies.training_classes import TESTS, _upright
from quickstudy_studies.training_classes import markdown as tables_of_classes
from tests.helpers.blobs import make_blobs
from tests.helpers.real_data import require


def test_an_attack_of_no_size_is_the_evaluation():
    learner = qs.learners.ProtoNet(torch.nn.Linear(4, 3)).eval()
    bank = qs.tasks.FewShot(make_blobs(), ways=5, shots=1, queries=4).bank(30)
    bank.draw(torch.arange(2))
    clean = under_attack(learner, bank, 0.0, 1)
    assert clean.tolist() == pytest.approx(qs.evaluate(learner, bank, 30).values.tolist())


def test_attacks_reach_what_a_linear_boundary_allows():
    """Two classes at 0 and 1 on a line, queries at 0.3 and 0.7: moved by less than 0.2 all are right, by more none."""
    data = qs.datasets.arrays(torch.tensor([[0.3], [0.3], [0.7], [0.7]]), ["a", "a", "b", "b"])
    learner = qs.learners.ProtoNet(torch.nn.Linear(1, 1, bias=False)).eval()
    torch.nn.init.ones_(learner.net.weight)
    bank = qs.tasks.FewShot(data, ways=2, shots=1, queries=1).bank(4)
    for steps in (1, 5):
        assert under_attack(learner, bank, 0.19, steps).tolist() == [1.0] * 4
        assert under_attack(learner, bank, 0.21, steps).tolist() == [0.0] * 4


def test_the_inner_rate_is_chosen_on_validation_tasks():
    """Not on the test tasks that are shown, on which another rate is better here."""
    test = {str(mark): {"mean": 0.9, "interval": 0.01} for mark in (1, 3)}
    better = {**test, "1": {"mean": 0.5, "interval": 0.01}}
    found = {"maml-0.001": {**better, "validation": 0.7}, "maml-0.01": {**test, "validation": 0.6}}
    assert chosen(found, "maml")[0] == 0.01


def test_a_method_all_of_whose_runs_diverged_is_left_out():
    test = {str(mark): {"mean": 0.9, "interval": 0.01, "diverged": 0.0} for mark in (1, 3)}
    found = {"maml-0.01": {**test, "validation": 0.6}}
    assert chosen(found, "anil") is None
    assert markdown(found).splitlines()[2:] == ["| MAML | **0.01** | 0.60 | 0.90 ± 0.01 | 0.90 ± 0.01 |"]
    assert len(figure(found).axes[0].containers) == 1


def test_runs_that_are_not_there_leave_their_places_empty():
    part = {"mean": 0.5, "interval": 0.01}
    found = {f"maml-{count}-turned": dict.fromkeys(TESTS, part) for count in (10, 300)}
    found["protonet-300-turned"] = found["maml-10-turned"]
    text = tables_of_classes({"runs": found, "nearest": part})
    assert "| tasks of new classes | 10 | 300 |" in text
    assert "| ProtoNet (metric), with rotations |  | 50.0 ± 1.0 |" in text


def test_a_mean_over_tasks_in_which_steps_diverged_is_not_shown():
    found = {"maml-0.01": {"1": np.array([[1.0, 2.0, 1e6, 3.0]]), "3": np.array([[1.0, 2.0, 3.0, 2.0]])}}
    found["maml-0.01"]["validation"] = 1.5
    with patch.dict(METHODS, {"maml": METHODS["maml"]}, clear=True):
        row = markdown(judged(found)).splitlines()[-1]
    assert row == "| MAML | **0.01** | 1.50 | diverges in 25.0 % | 2.00 ± 1.30 |"


def test_classes_as_drawn_are_those_that_are_not_turned():
    turned = with_rotations(qs.datasets.arrays(torch.rand(12, 1, 4, 4), ["a", "b", "c"] * 4))
    assert _upright(qs.tasks.FewShot(turned, 3, 1, 2)).classes == ("a", "b", "c")


@pytest.fixture
def omniglot():
    require("omniglot")


def run(name, folder):
    ticks = []
    lines = lookup("reproduction", name).build(folder, lambda *done: ticks.append(done), quick=True)
    assert ticks[-1][0] == ticks[-1][1] > 1
    return lines


def test_a_grid_keeps_what_it_found(tmp_path):
    lines = run("sensitivity", tmp_path)
    assert len(lines) == 3 + 2 * len(METHODS)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["maml-0.001"]["1"]["interval"] > 0
    assert results["maml-0.001"]["minutes"] > 0
    shutil.rmtree(tmp_path / "trained")  # nothing is trained or looked at again
    assert run("sensitivity", tmp_path) == lines
    assert not (tmp_path / "trained").exists()


def test_a_run_that_diverges_is_left_out(tmp_path):
    recipes = {str(rate): recipe("sinusoid-maml", steps=3, inner_lr=rate) for rate in (0.01, 1e30)}
    grid = Grid(recipes, tmp_path, look, asked={"tasks": 5, "marks": [1]})
    found = grid.gathered({name: piece() for name, piece in grid.pieces.items()})
    assert list(found) == ["0.01"]
    assert found["0.01"]["1"].shape == (1, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["training-classes", "robustness"])
def test_runs_whole(omniglot, name, tmp_path):
    lines = run(name, tmp_path)
    assert lines[1].startswith("|")
    assert (tmp_path / "results.json").is_file()
    assert len(list(tmp_path.glob("*.png"))) == 1
