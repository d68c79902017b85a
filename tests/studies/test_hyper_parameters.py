import json
import math
import sys

import pytest
import torch

from quickstudy import batching
from quickstudy.cli import main
from quickstudy.outer import Gradient
from quickstudy.outer.base import trainable
from quickstudy_studies.hyper_parameters import page as tuning_page
from quickstudy_studies.hyper_parameters import run as tuning

TINY = tuning.Settings(steps=10, runs=3, trials=3)


def test_the_command_writes_everything(tmp_path, capsys):
    pytest.importorskip("optuna")
    assert main(["reproduce", "hyper-parameters", "--quick", "--output", str(tmp_path)]) == 0
    assert "hyper-gradients reach the best of Optuna's 3 training runs" in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert {name: set(run[name]) for name in ("many", "few")} == {
        name: set(searches) for name, searches in tuning_page.SEARCHES.items()
    }
    begun = {name: found["curve"][0][2] for name, found in run["many"].items() if name != "online"}
    assert len(set(begun.values())) <= 2, "all begin at the same place, but for rounding"
    assert max(begun.values()) == pytest.approx(min(begun.values()), rel=1e-5)
    assert (tmp_path / "searches.png").stat().st_size > 10_000
    assert (tmp_path / "table.md").read_text().count("\n") == 16


def test_without_optuna_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["reproduce", "hyper-parameters", "--quick", "--output", str(tmp_path)]) != 0
    assert "pip install 'quickstudy[compare]'" in capsys.readouterr().err


def test_parts_share_no_row():
    task, test = tuning.split(1)
    parts = [{row.numpy().tobytes() for row in rows.inputs} for rows in (task.support, task.query, test)]
    assert [len(part) for part in parts] == [100, 500, 1197]
    assert len(set.union(*parts)) == 1797


def test_runs_side_by_side_are_the_runs_one_by_one():
    learner, rows = tuning.problem("many", TINY), [tuning.split(seed) for seed in (1, 2)]
    values = [{"log_weight_decay": torch.linspace(-9, high, 64)} for high in (-2.0, 3.0)]
    found = tuning.judged(learner, batching.stack(values), batching.stack(rows))
    for pair, own, (task, test) in zip(found, values, rows, strict=True):
        theta = {name: value.clone() for name, value in learner.adapted.net.named_parameters()}
        for _ in range(TINY.steps):
            weight, bias = (theta[name].detach().requires_grad_() for name in ("head.weight", "head.bias"))
            loss = torch.nn.functional.cross_entropy(task.support.inputs @ weight.T + bias, task.support.labels)
            loss = loss + (own["log_weight_decay"].exp() / 2 * weight.square()).sum()
            loss.backward()
            theta = {
                f"head.{name}": value.detach() - 2 * value.grad for name, value in (("weight", weight), ("bias", bias))
            }
        for value, seen in zip(pair, (task.query, test), strict=True):
            expected = torch.nn.functional.cross_entropy(
                seen.inputs @ theta["head.weight"].T + theta["head.bias"], seen.labels
            )
            assert math.isinf(value) or value == pytest.approx(float(expected), rel=1e-4)
    assert math.isfinite(found[0][0])


def test_what_following_hyper_gradients_costs():
    found = tuning.descend(tuning.problem("many", TINY), tuning.split(1), TINY, Gradient(1.0))
    assert [(runs, cost) for runs, cost, _ in found["curve"]] == [(1, 1), (2, 4), (3, 7)]
    losses = [loss for _, _, loss in found["curve"]]
    assert losses[2] < losses[1] < losses[0]
    assert found["validation"] == losses[2]
    assert len(found["found"]["log_weight_decay"]) == 64
    assert set(trainable(tuning.problem("few", TINY))) == set(tuning.RANGES)


def test_when_a_level_is_reached():
    curve = [(1, 1, 0.5), (2, 4, 0.4), (3, 7, 0.3)]
    assert tuning_page.reached({"curve": curve}, 0.4) == (2, 4)
    assert tuning_page.reached({"curve": curve}, 0.2) == (math.inf, math.inf)
    run = {"optuna": {"validation": 0.4}, "shared": {"validation": 0.35}, "unrolled": {"validation": 0.1}}
    assert tuning_page.best({"many": run}, "many") == 0.35
