import json
import math

import pytest
import torch

from quickstudy import batching
from quickstudy.cli import main
from quickstudy.core import Examples
from quickstudy.tasks import MultiModal
from quickstudy_studies.two_modes import page as two_modes_page
from quickstudy_studies.two_modes.best import BestOfTwoModes
from quickstudy_studies.two_modes.study import recipes, same_points, steps_of


def test_the_command_writes_everything_and_takes_finished_runs_as_they_are(tmp_path, capsys):
    for _ in range(2):
        assert main(["reproduce", "two-modes", "--quick", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "MMAML: squared error" in out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert set(run["methods"]) == set(two_modes_page.METHODS)
    for facts in run["methods"].values():
        assert facts["mse"][0] == pytest.approx((facts["sine"][0] + facts["linear"][0]) / 2)
    assert len(run["methods"]["mmaml"]["curve"]) == 6
    assert (tmp_path / "fan.png").stat().st_size > 10_000
    assert (tmp_path / "table.md").read_text().count("\n") == 6


def test_a_maml_for_each_mode_is_trained_on_half_the_tasks_of_its_mode():
    plan = recipes(steps=100)
    tasks = {name: recipe.steps * recipe.meta_batch for name, recipe in plan.items()}
    assert tasks["maml"] == tasks["mmaml"] == 2 * (tasks["maml-sine"] + tasks["maml-linear"])
    assert {name: recipe.modes for name, recipe in plan.items()} == {
        "mmaml": ("sine", "linear"),
        "maml": ("sine", "linear"),
        "maml-sine": ("sine",),
        "maml-linear": ("linear",),
    }


def test_fan_begins_where_nothing_is_learned_and_ends_where_adapting_does():
    learner = recipes(compile=False)["mmaml"].plan().learner.eval()
    for support, grid, truth in same_points(5, 0.3).values():
        fan = steps_of(learner, support, grid)
        assert len(fan) == 6
        expected = learner.predict(learner.adapt(support), grid).flatten()
        torch.testing.assert_close(torch.tensor(fan[-1]), expected.detach())
        assert torch.equal(grid.flatten()[[0, -1]], torch.tensor([-5.0, 5.0]))
        nearest = (grid - support.inputs.mT).abs().argmin(0)
        assert float((truth[nearest] - support.labels).abs().max()) < 1


def test_posterior_mean_finds_the_function_that_many_clear_points_leave():
    learner = BestOfTwoModes(noise=0.05)
    for mode in ("sine", "linear"):
        task = batching.select(MultiModal((mode,), 30, 50, 0.0).batch(3, 1), 0)
        found = learner.predict(learner.adapt(task.support), task.query.inputs)
        torch.testing.assert_close(found, task.query.labels, atol=0.04, rtol=0.02)


def test_posterior_mean_is_bayes_rule_over_functions_drawn_anew():
    x = torch.tensor([[0.5], [2.0]])
    support = Examples(x, torch.tensor([[1.0], [0.4]]))
    u = torch.rand(400_000, 2, generator=torch.Generator().manual_seed(0))
    grid = torch.tensor([-1.0, 1.0, 4.0])

    def values(x):
        waves = (0.1 + 4.9 * u[:, :1]) * torch.sin(x - math.pi * u[:, 1:])
        return torch.cat([waves, (-3 + 6 * u[:, :1]) * x + (-3 + 6 * u[:, 1:])])

    weights = torch.exp(-(values(x.T) - support.labels.T).square().sum(1) / (2 * 0.3**2))
    expected = (weights.unsqueeze(1) * values(grid)).sum(0) / weights.sum()
    learner = BestOfTwoModes(noise=0.3)
    found = learner.predict(learner.adapt(support), grid.unsqueeze(1)).flatten()
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)
