import json

import numpy as np
import pytest

from quickstudy.cli import main
from quickstudy_studies import heads


def test_the_command_writes_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(heads, "DATA", {"iris": heads.DATA["iris"]})
    assert main(["reproduce", "heads", "--quick", "--output", str(tmp_path)]) == 0
    assert "of 5 settings" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run["shots"] for run in runs] == [1, 2, 5, 10, 20]
    for run in runs:
        accuracy = run["accuracy"]
        assert run["gain"][0] == pytest.approx(accuracy["head"] - accuracy["logistic"])
        assert accuracy["head"] > 0.5
    assert (tmp_path / "table.md").read_text().count("\n") == 7


def test_calibration_is_the_gap_of_confidence_and_accuracy():
    sure = np.array([0.95, 0.95, 0.55, 0.55])
    assert heads.calibration(sure, np.array([True, True, True, False])) == pytest.approx(0.05)
    assert heads.calibration(sure, np.array([False, False, False, False])) == pytest.approx(0.75)
