import json

import pytest
import torch

from quickstudy.cli import main
from quickstudy.recipes.learned_data import DigitsNoisyLabels
from quickstudy_studies.noisy_labels import page as weighing_page
from quickstudy_studies.noisy_labels import run as weighing


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "noisy-labels", "--quick", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Won back of what wrong labels cost" in out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert set(run["accuracy"]) == {"plain", "clean", "learned", "ceiling"}
    assert len(run["weights"]) == len(run["wrong"]) == 600
    assert (tmp_path / "weights.png").stat().st_size > 10_000
    assert (tmp_path / "table.md").read_text().count("\n") == 6


def test_parts_share_no_row_and_two_in_five_labels_are_wrong():
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    own = {
        (torch.tensor(row / 16, dtype=torch.float32).numpy().tobytes()): int(k)
        for row, k in zip(pixels, digits, strict=True)
    }
    assert len(own) == 1797
    rows = DigitsNoisyLabels(split=3).rows()
    parts = [{row.numpy().tobytes() for row in part.inputs} for part in (rows.train, rows.clean, rows.test)]
    assert [len(part) for part in parts] == [600, 100, 1097]
    assert len(set.union(*parts)) == 1797
    assert torch.equal(torch.bincount(rows.clean.labels), torch.full((10,), 10))
    for part in (rows.truth, rows.clean, rows.test):
        assert [own[row.numpy().tobytes()] for row in part.inputs] == part.labels.tolist()
    assert torch.equal(rows.train.labels != rows.truth.labels, rows.wrong)
    assert 0.34 < rows.wrong.float().mean() < 0.46


def test_what_is_won_back_is_of_what_was_lost():
    run = {"accuracy": {"plain": 0.6, "clean": 0.8, "learned": 0.8, "ceiling": 1.0}}
    run |= {"weights": [0.2, 0.4, 0.1], "wrong": [True, False, True], "curve": [0.0] * len(weighing.LOSSES)}
    assert weighing_page.recovered([run]) == pytest.approx(0.5)
    assert weighing_page.weights([run], True) == [0.5, 0.25]
    assert weighing_page.summary([run])[1:] == [
        "Won back of what wrong labels cost: 50 %",
        "Mean weight, of the largest: 1.000 with the right label, 0.375 with a wrong one",
    ]
    assert "| Meta-Weight-Net | 80.0 | 80.0 | 80.0 |" in weighing_page.markdown([run])
