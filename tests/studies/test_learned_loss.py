import json

import pytest
import torch

from quickstudy import batching
from quickstudy.cli import main
from quickstudy.functional import random
from quickstudy.recipes.losses import SinusoidML3, WrongTargets
from quickstudy_studies.learned_loss import page as teaching_page
from quickstudy_studies.learned_loss import run as teaching


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "learned-loss", "--quick", "--output", str(tmp_path)]) == 0
    assert "30 % wrong targets, after 9 inner steps: squared error" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run["family"] for run in runs] == list(teaching.FAMILIES)
    for run in runs:
        assert set(run["curves"]) == set(teaching_page.TITLES)
        assert {len(curve) for curve in run["curves"].values()} == {10}
        assert len({round(curve[0], 4) for curve in run["curves"].values()}) == 1, "all begin alike"
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "table.md").read_text().count("\n") == 17


def test_only_the_supports_targets_are_wrong():
    right, wrong = (WrongTargets(share, 2, 50, 10, seed=3).batch(0, 20) for share in (0.0, 0.3))
    assert torch.equal(right.query.labels, wrong.query.labels)
    assert torch.equal(right.support.inputs, wrong.support.inputs)
    changed = right.support.labels != wrong.support.labels
    assert 0.25 < float(changed.float().mean()) < 0.35
    assert float(wrong.support.labels[changed].abs().max()) > 9
    assert float(right.support.labels.abs().max()) <= 5


def test_a_fixed_loss_is_gradient_descent_on_it():
    recipe = SinusoidML3(inner_steps=5, waves=4, wrong=0.0)
    support = batching.select(recipe.tasks(10, seed=0).batch(0, 1), 0).support
    learner = teaching.fixed(recipe, "squared", 0.3)
    theta = learner.start(support, random.key(0)).theta
    weight, bias, rows = theta["head.weight"].T, theta["head.bias"], len(support)
    for _ in range(5):
        errors = 2 / rows * (support.inputs @ weight + bias - support.labels)
        weight, bias = weight - 0.3 * support.inputs.T @ errors, bias - 0.3 * errors.sum(0)
    with torch.no_grad():
        found = learner.adapt(support, random.key(0)).theta
    torch.testing.assert_close(found["head.weight"].T, weight)
    torch.testing.assert_close(found["head.bias"], bias)


def test_what_the_table_takes():
    runs = [
        {"family": family, "curves": {name: [4.0, 2.0 + k, 1.0, 0.5, 0.25] for name in teaching_page.TITLES}}
        for k in (0, 1)
        for family in teaching.FAMILIES
    ]
    assert teaching_page.error(runs, "right", "learned")[1] == pytest.approx(2.5)
    assert teaching_page.shown(runs, 4) == [1, 4]
    assert "| squared error | 2.50 | 0.25 |" in teaching_page.markdown(runs, 4)
