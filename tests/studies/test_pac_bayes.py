import json

import pytest

from quickstudy.cli import main
from quickstudy_studies.pac_bayes import page as bounds_page

TERMS = ("empirical", "task", "environment")


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "pac-bayes", "--quick", "--output", str(tmp_path)]) == 0
    assert "amit-meir: above the error in new tasks in 2 of 2 runs" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [(run["tasks"], run["seed"]) for run in runs] == [(4, 0), (16, 0)]
    for run in runs:
        for name in ("amit-meir", "pacoh"):
            assert run[name] == pytest.approx(sum(run[f"{name} {term}"] for term in TERMS))
    assert 10_000 < (tmp_path / "bounds.png").stat().st_size < 60_000
    assert (tmp_path / "table.md").read_text().count("\n") == 4


def test_runs_are_summed_up():
    few = {"new": 0.4, "few amit-meir": 2.0, "few pacoh": 0.3}
    low = {"tasks": 4, "error": 0.1, "amit-meir": 0.6, "pacoh": 0.4, **few}
    high = {"tasks": 16, "error": 0.1, "amit-meir": 0.45, "pacoh": 0.05, **few, "few pacoh": 0.5}
    assert bounds_page.summary([low, high]) == [
        "amit-meir: above the error in new tasks in 2 of 2 runs; below 1/2 in every run from 16 tasks on",
        "amit-meir, 3 rows a task: above the error in 2 of 2 runs; 2.00 or more",
        "pacoh: above the error in new tasks in 1 of 2 runs; below 1/2 in every run from 4 tasks on",
        "pacoh, 3 rows a task: above the error in 1 of 2 runs; 0.30 or more",
    ]
    assert "nowhere" in bounds_page.summary([low])[0]
