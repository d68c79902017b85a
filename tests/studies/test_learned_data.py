"""Commands of docs/studies/learned-data.md: what they write, and that their parts are what they say."""

import json

import pytest
import torch

from quickstudy.cli import main
from quickstudy.functional import random
from quickstudy.learners import L2O, MetaWeightNet
from quickstudy.nets import mlp
from quickstudy.recipes import learned_data
from quickstudy.rules import SGD
from quickstudy_studies.learned_data import augmenting, distilling, imbalance
from quickstudy_studies.shared import learned_rows

STUDIES = {
    "class-imbalance": (imbalance, "imbalance"),
    "distillation": (distilling, "distilled"),
    "augmentation": (augmenting, "augmentation"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_command_writes_everything(name, tmp_path, capsys):
    study, picture = STUDIES[name]
    assert main(["reproduce", name, "--quick", "--output", str(tmp_path)]) == 0
    assert "Test accuracy: " in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert set(run["accuracy"]) == set(study.WAYS)
    assert all(0 <= value <= 1 for value in run["accuracy"].values())
    assert 10_000 < (tmp_path / f"{picture}.png").stat().st_size < 60_000
    for text in study.WAYS.values():
        assert f"| {text} | " in (tmp_path / "table.md").read_text()


def rows_of(part):
    return {row.numpy().tobytes() for row in part.inputs}


def test_one_class_is_fifty_times_as_frequent():
    rows = imbalance.split(2)
    assert torch.bincount(rows.train.labels).tolist() == [700, 14]
    assert torch.bincount(rows.even.labels).tolist() == [357, 357]
    assert torch.bincount(rows.clean.labels).tolist() == [10, 10]
    assert torch.bincount(rows.test.labels).tolist() == [150, 150]
    for part in (rows.train, rows.even):
        assert len(rows_of(part) | rows_of(rows.clean) | rows_of(rows.test)) == 714 + 20 + 300
    weights = imbalance.weighed(rows.train, 50.0)(torch.zeros(714), torch.arange(714)).detach()
    assert float(weights[rows.train.labels == 1][0] / weights[rows.train.labels == 0][0]) == pytest.approx(50, rel=0.01)


def test_weights_of_one_are_plain_training():
    rows, net = imbalance.split(2), mlp(64, (4,), 2)
    plain = L2O(SGD(0.3), steps=5)
    equal = MetaWeightNet(imbalance.weighed(rows.train, 1.0), SGD(0.3), steps=5)
    found = [learned_rows.trained(net, each, rows.train, rows.test)[1] for each in (plain, equal)]
    assert torch.allclose(*found, atol=1e-5)


def test_digits_and_ranks():
    inputs, labels = learned_data.digits(random.key(1))
    assert inputs.shape == (1797, 64)
    assert len(rows_of(type("Part", (), {"inputs": inputs}))) == 1797
    assert learned_data.ranks(torch.tensor([1, 0, 1, 1, 0])).tolist() == [0, 0, 1, 2, 1]
    first = distilling.small_sets(distilling.Examples(inputs[:1000], labels[:1000], ways=10))
    assert first["real"].labels.sort().values.tolist() == list(range(10))
    for digit in range(10):
        mean = inputs[:1000][labels[:1000] == digit].mean(0)
        assert torch.allclose(first["means"].inputs[digit], mean)


def test_query_rows_are_turned_by_at_most_thirty_degrees():
    image = torch.zeros(1, 33, 33)
    image[0, 16, 20:33] = 1
    rows = learned_data.DigitsAugmentation().turned(image, torch.tensor([0]), random.key(0), copies=200)
    places = torch.stack(torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij"))
    middles = (rows.inputs.unsqueeze(1) * places).sum((2, 3)) / rows.inputs.sum((1, 2)).unsqueeze(1)
    degrees = torch.rad2deg(torch.atan2(-middles[:, 0], middles[:, 1]))
    assert len(rows) == 200
    assert 27 < degrees.abs().max() < 31
    assert degrees.std() == pytest.approx(30 / 3**0.5, rel=0.15)
