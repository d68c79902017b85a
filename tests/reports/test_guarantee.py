"""The bound of a run, beside the error that is measured."""

import json

import pytest

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.recipes.base import of_run
from quickstudy.reports.guarantee import guarantee


def test_a_bound_is_shown_beside_the_error(tmp_path, capsys):
    run = str(tmp_path / "run")
    options = ["--tasks", "8", "--rows", "40", "--steps", "5", "--meta-batch", "4", "--device", "cpu"]
    assert main(["train", "half-spaces-pac-bayes", *options, "--run-dir", run]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--tasks", "30", "--json", str(tmp_path / "out.json")]) == 0
    shown = capsys.readouterr().out
    bound = json.loads((tmp_path / "out.json").read_text())["bound"]
    assert f"guaranteed (PAC-Bayes): {bound['total']:.4f} = {bound['empirical']:.4f} on rows" in shown
    assert "evaluated is the vote" in shown
    assert bound["total"] == pytest.approx(bound["empirical"] + bound["task"] + bound["environment"])
    plan = of_run(run).plan()
    found = plan.options["objective"].of(qs.load(run), plan.train.batch(0, 8))
    assert bound["total"] == pytest.approx(float(found.total))
    assert main(["report", run, "--tasks", "20"]) == 0
    assert f"{bound['total']:.4f} = " in (tmp_path / "run" / "report.html").read_text()


def test_other_runs_have_none():
    plan = qs.recipes.sinusoid.SinusoidMAML().plan()
    assert guarantee(plan.learner, plan) is None
