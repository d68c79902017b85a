import json

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are

import quickstudy as qs
from quickstudy.cli import main
from quickstudy_studies.balancing import page as balancing_page
from quickstudy_studies.balancing import run as regulator
from quickstudy_studies.balancing.run import CASE, FORCE, WEIGHTS


def test_the_regulator_is_scipys():
    simulator = qs.nets.Simulator(CASE.system, CASE.real, CASE.duration).double()
    rows = qs.Examples(torch.zeros(1, 5, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64))
    found = regulator.Regulator(simulator, rounds=400).double().adapt(rows).detach().numpy()
    # Slopes by differences, the equation by scipy.
    h = 1e-5 * torch.eye(5, dtype=torch.float64)
    slopes = ((simulator(h) - simulator(-h)) / 2e-5).detach().numpy().T
    a, b, cost = slopes[:, :4] + np.eye(4), slopes[:, 4:], np.diag(WEIGHTS)
    value = solve_discrete_are(a, b, cost, FORCE * np.eye(1))
    expected = np.linalg.solve(FORCE + b.T @ value @ b, b.T @ value @ a)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_who_knows_the_real_parameters_pays_least():
    best, guessed, light = regulator.costs([CASE.real, CASE.guess, {**CASE.real, "length": 0.3}], 0)
    assert best < min(guessed, light)


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "balancing", "--quick", "--output", str(tmp_path)]) == 0
    assert "gradient: cost at first +" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run["outer"] for run in runs] == ["gradient", "evolution strategies"]
    for run in runs:
        assert run["costs"][0] == pytest.approx(runs[0]["costs"][0])
        assert run["costs"][-1] < run["costs"][0]
        assert run["path"]["cart"][0] == pytest.approx(CASE.guess["cart"] / CASE.real["cart"])
    assert 10_000 < (tmp_path / "balancing.png").stat().st_size < 60_000
    assert (tmp_path / "table.md").read_text().count("\n") == 4


def test_shares_are_of_the_best_cost():
    run = {"outer": "gradient", "costs": [3.0, 2.02], "best": 2.0, "path": {"cart": [2.0, 0.5]}}
    lines = balancing_page.summary([run, {**run, "costs": [3.0, 1.98]}])
    assert lines == ["gradient: cost at first +50.0 to +50.0 %, cost in the end -1.00 to +1.00 %, cart 0.50 to 0.50"]
