"""Plots of many rows: what they measure, on tiny runs."""

import pytest
import torch

import quickstudy as qs
from conftest import make_blobs
from quickstudy.datasets.files import data_folders
from quickstudy.registry import lookup
from quickstudy.reproductions.robustness import under_attack


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


SLOW = pytest.mark.slow
NAMES = [pytest.param("training-classes", marks=SLOW), "sensitivity", pytest.param("robustness", marks=SLOW)]


@pytest.mark.parametrize("name", NAMES)
def test_runs_whole(name, tmp_path):
    if not any((folder / "omniglot").is_dir() for folder in data_folders()):
        pytest.skip("no Omniglot: set QUICKSTUDY_DATA to a folder that holds it")
    ticks = []
    lines = lookup("reproduction", name).build(tmp_path, lambda done, total: ticks.append((done, total)), quick=True)
    assert lines[1].startswith("|")
    assert ticks[-1][0] == ticks[-1][1] > 1
    assert (tmp_path / "results.json").is_file()
    assert len(list(tmp_path.glob("*.png"))) == 1
