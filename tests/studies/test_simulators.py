import json

import pytest

from quickstudy.cli import main
from quickstudy_studies.simulators import page as hidden_parameters_page
from quickstudy_studies.simulators.run import CASES


def test_the_command_writes_everything(tmp_path, capsys):
    pytest.importorskip("cmaes")
    assert main(["reproduce", "simulators", "--quick", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "cart-pole, CMA-ES: largest error cart " in out
    assert "its figures say nothing" in out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert len(runs) == 9
    for run in runs:
        case = CASES[run["case"]]
        assert {name: path[0] for name, path in run["path"].items()} == pytest.approx(
            {name: case.guess[name] / real for name, real in case.real.items()}
        )
        assert {len(path) for path in run["path"].values()} == {4}
        assert all(path[-1] != path[0] for path in run["path"].values())
    assert 10_000 < (tmp_path / "parameters.png").stat().st_size < 60_000
    assert (tmp_path / "table.md").read_text().count("\n") == 11


def test_the_worst_seed_counts_and_ratios_where_no_more_is_told():
    def run(seed, mass, friction):
        path = {"mass": [2.0, mass], "length": [2.0, 1.01], "friction": [2.0, friction]}
        return {"case": "pendulum, not driven", "outer": "gradient", "seed": seed, "path": path}

    lines = hidden_parameters_page.summary([run(0, 2.0, 2.1), run(1, 0.5, 0.5)])
    assert lines == [
        "pendulum, not driven, gradient: largest error mass 100.0 %, length 1.0 %, friction 110.0 %, "
        "friction / mass 5.0 %"
    ]
