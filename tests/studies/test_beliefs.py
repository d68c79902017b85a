"""Beliefs judged beside exact posteriors."""

import json
import math

import numpy as np
import pytest

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.evaluation import reliability
from quickstudy_studies.beliefs import page as beliefs_page
from quickstudy_studies.beliefs.exact import HalfPlanePosterior, SinusoidPosterior


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "beliefs", "--quick", "--output", str(tmp_path)]) == 0
    assert "90 % hold 85 to 95 % of answers for" in capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())
    for data in ("sinusoids", "half-planes"):
        learners = found[data]["learners"]
        assert list(learners)[:2] == ["exact posterior", "MAML"]
        assert set(learners) - set(qs.learners.__all__) == {"exact posterior"}
        for each in learners.values():
            gap = each["log_likelihood"][0] - learners["MAML"]["log_likelihood"][0]
            assert each["more_than_plain"][0] == pytest.approx(gap, abs=1e-9)
        assert f"\n| VERSA | {100 * learners['VERSA']['coverage'][0]:.1f} ± " in (tmp_path / "table.md").read_text()
    for name in ("reliability.png", "answers.png"):
        assert 10_000 < (tmp_path / name).stat().st_size < 100_000


def test_posterior_of_sinusoids_is_that_of_a_sum_over_all_of_them():
    tasks = qs.tasks.MultiModal(("sine",), 5, 8, 0.3)
    task = qs.batching.select(tasks.batch(0, 1), 0)
    a, phi = np.meshgrid(np.linspace(0.1, 5, 600), np.linspace(0, math.pi, 600), indexing="ij")

    def log_likelihood(x, y):
        return -0.5 * ((y - a * np.sin(x - phi)) / 0.3) ** 2 - math.log(0.3 * math.sqrt(2 * math.pi))

    support = zip(task.support.inputs.flatten().tolist(), task.support.labels.flatten().tolist(), strict=True)
    prior = sum(log_likelihood(x, y) for x, y in support)
    weights = np.exp(prior - prior.max())
    weights /= weights.sum()
    learner = SinusoidPosterior(cells=300, draws=300)
    found = learner.predict(learner.adapt(task.support), task.query.inputs).log_prob(task.query.labels)
    queries = zip(task.query.inputs.flatten().tolist(), task.query.labels.flatten().tolist(), strict=True)
    wanted = [math.log((weights * np.exp(log_likelihood(x, y))).sum()) for x, y in queries]
    np.testing.assert_allclose(found.numpy(), wanted, atol=0.05)


def test_exact_answers_are_reliable():
    for learner, tasks in (
        (HalfPlanePosterior(), qs.tasks.HalfPlanes(queries=10)),
        (SinusoidPosterior(cells=80, draws=50), qs.tasks.MultiModal(("sine",), 5, 10, 0.3)),
    ):
        found = reliability(learner, tasks, tasks=150)
        np.testing.assert_allclose(found.curve[:, 1], found.curve[:, 0], atol=0.05)


def test_who_meets_what_is_said():
    each = {"coverage": [0.9, 0.01], "more_than_plain": [0.1, 0.05], "risk": [0.1, 0.2], "size": 1.0}
    each |= {"log_likelihood": [-0.4, 0.02]}
    wide, equal = {**each, "coverage": [0.96, 0.01]}, {**each, "more_than_plain": [0.04, 0.05]}
    learners = {"exact posterior": each, "MAML": each, "VERSA": wide, "BMAML": equal}
    found = {data: {"tasks": 8, "learners": learners} for data in ("sinusoids", "half-planes")}
    lines = beliefs_page.summary(found)
    assert lines[0] == "sinusoids: 90 % hold 85 to 95 % of answers for BMAML"
    assert lines[1] == "sinusoids: log-likelihood above MAML's for VERSA"
    row = next(line for line in beliefs_page.markdown(found).splitlines() if line.startswith("| BMAML"))
    assert row == "| BMAML | 90.0 ± 1.0 % | 1.00 | -0.400 ± 0.020 | +0.040 ± 0.050 | 0.200 | 0.100 |"
