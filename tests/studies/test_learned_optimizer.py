import copy
import json
import math

import pytest

from quickstudy.cli import main
from quickstudy_studies.learned_optimizer import comparison
from quickstudy_studies.learned_optimizer import page as comparison_page


def test_the_command_writes_everything_and_goes_on(momentum, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    assert main(["reproduce", "learned-optimizer", "--quick", "--output", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "as it is: beats Adam at its default rate on" in out
    content = json.loads((folder / "results.json").read_text())
    assert [each["name"] for each in content["problems"]] == ["iris-deep", "cancer-logistic"]
    first = content["problems"][0]
    assert first["parameters"] == 50563
    assert list(first["optimisers"]) == [
        "learned",
        "learned, told",
        "Adam 1e-3",
        "Adam",
        "AdamW",
        "SGD",
        "Adam, cosine",
    ]
    assert first["optimisers"]["Adam 1e-3"]["rates"][first["optimisers"]["Adam 1e-3"]["best"]] == pytest.approx(1e-3)
    assert first["optimisers"]["Adam"]["final"] == min(each["median"] for each in first["optimisers"]["Adam"]["finals"])
    assert first["optimisers"]["learned"]["curve"][0] == first["optimisers"]["SGD"]["curve"][0]
    assert set(content["step_times"][0]["ms"]) == {"learned", "Adam (foreach)", "Adam (fused)"}
    assert (folder / "curves.png").stat().st_size > 10_000
    table = (folder / "table.md").read_text()
    assert "### Five times beyond the horizon" in table
    assert "Infinity" not in (folder / "results.json").read_text()
    # What is there is not run again.
    monkeypatch.setattr(comparison, "race", None)
    assert main(["reproduce", "learned-optimizer", "--quick", "--output", str(folder)]) == 0
    assert json.loads((folder / "results.json").read_text())["problems"] == content["problems"]


def test_counts_and_divergence_are_told(momentum, tmp_path):
    kept = comparison.one("iris-deep", tmp_path, {"seeds": 1, "steps": 2, "points": 1})
    better, worse = copy.deepcopy(kept), copy.deepcopy(kept)
    better["optimisers"]["learned"]["final"] = 1e-9
    worse.update(name="bad", long=True)
    worse["optimisers"]["learned"]["final"] = None
    for each in (better, worse):
        each["optimisers"]["learned, told"]["final"] = 1e9
    assert comparison.beaten([better, worse], "Adam") == ["iris-deep"]
    assert math.isinf(comparison.final(worse, "learned"))
    content = {"problems": [better, worse], "seeds": 1, "minutes": 1.0, "step_times": [{"ms": {}}]}
    lines = comparison_page.summary(content)
    assert lines[0] == "as it is: beats Adam at its default rate on 1 of 2 problems"
    assert lines[1].startswith("as it is, within the horizon: beats tuned Adam on 1 of 1, ")
    assert lines[3:5] == [
        "as it is: ends no lower than Adam at its default rate on: bad",
        "as it is: diverges on: bad",
    ]
    assert lines[5] == "told the number of steps: beats Adam at its default rate on 0 of 2 problems"


def test_mistakes_are_named(capsys):
    assert main(["reproduce", "learned-optimiser"]) == 2
    assert "did you mean 'learned-optimizer'?" in capsys.readouterr().err
    assert main(["reproduce", "learned-optimizer", "--seeds", "0"]) == 2
    assert main(["reproduce"]) == 0
    assert "learned-optimizer" in capsys.readouterr().out
