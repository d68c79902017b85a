"""Meta-testing: means, intervals, curves, calibration and comparison."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.evaluation import Report, differences, interval95
from quickstudy.functional import random
from quickstudy.learners import MAML, NearestNeighbour, ProtoNet
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def tasks(**options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(DATA, **{"ways": 3, "shots": 1, "queries": 4, **options})


def test_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=30)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert interval95(values) == pytest.approx((high - low) / 2)
    assert interval95(np.array([1.0])) == math.inf
    assert interval95(np.ones(5)) == 0


def test_accuracy_by_loops() -> None:
    learner, bank = ProtoNet(mlp()), tasks(ways=(2, 3), shots=(1, 2)).bank(30)
    report = qs.evaluate(learner, bank, 30, chunk=7)
    for i in range(30):
        one = batching.select(bank.batch(i, 1), 0)
        keep = one.query.mask
        guess = learner.predict(learner.adapt(one.support), one.query.inputs).argmax(1)
        assert report.values[i] == pytest.approx(float((guess == one.query.labels)[keep].double().mean()))
    assert report.mean == pytest.approx(report.values.mean())
    assert report.accuracy == report.mean
    assert report.interval == interval95(report.values)
    assert str(report) == f"accuracy {report.mean:.3f} +/- {report.interval:.3f} (95 % interval, 30 tasks)"


def test_squared_error_by_loops() -> None:
    learner, bank = MAML(qs.nets.mlp(1, (8,), 1)), qs.tasks.Sinusoid(shots=3, queries=4).bank(10)
    report = qs.evaluate(learner, bank, 10)
    for i in range(10):
        one = batching.select(bank.batch(i, 1), 0)
        gap = learner.predict(learner.adapt(one.support), one.query.inputs) - one.query.labels
        assert report.values[i] == pytest.approx(float(gap.detach().square().mean()), rel=1e-5)
    assert report.metric == "mse"
    assert math.isnan(report.calibration)
    with pytest.raises(InputError, match=r"read \.mean"):
        _ = report.accuracy


@pytest.mark.parametrize("name", ["MAML", "Reptile", "ADML", "IMAML", "MetaSGD", "ProtoMAML"])
def test_curve_ends_where_that_many_steps_do(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    learner.test_steps = 3
    report = qs.evaluate(learner, tasks(), 20)
    assert len(report.curve) == 4
    assert report.curve[-1] == pytest.approx(report.mean)
    for steps in (0, 1, 2):
        learner.test_steps = steps
        assert report.curve[steps] == pytest.approx(qs.evaluate(learner, tasks(), 20, curve_steps=0).mean)
    learner.test_steps = 2
    long = qs.evaluate(learner, tasks(), 20, curve_steps=5)
    assert len(long.curve) == 6
    assert long.curve[2] == pytest.approx(long.mean)
    short = qs.evaluate(learner, tasks(), 20, curve_steps=1)
    assert len(short.curve) == 2
    assert short.mean == pytest.approx(long.mean)
    assert qs.evaluate(ProtoNet(mlp()), tasks(), 5).curve == ()


def test_report_calibration_counts_queries_that_are_there() -> None:
    report = qs.evaluate(ProtoNet(mlp()), tasks(ways=(2, 3)), 20)
    assert report.reliability[:, 2].sum() == pytest.approx(1)
    assert 0 <= report.calibration <= 1


def test_same_bank_for_every_learner() -> None:
    learners = {"a": ProtoNet(mlp()), "b": ProtoNet(mlp()), "nearest": NearestNeighbour()}
    learners["b"].load_state_dict(learners["a"].state_dict())
    reports, gaps = qs.compare(learners, tasks(), 25)
    assert np.array_equal(reports["a"].values, reports["b"].values)
    assert [(gap.first, gap.second) for gap in gaps] == [("a", "b"), ("a", "nearest"), ("b", "nearest")]
    values = reports["a"].values - reports["nearest"].values
    assert gaps[1].mean == pytest.approx(values.mean())
    assert gaps[1].interval == pytest.approx(interval95(values))
    assert gaps[1].significant == (abs(gaps[1].mean) > gaps[1].interval)
    assert "(95 %, paired)" in str(gaps[1])
    assert np.array_equal(qs.evaluate(learners["a"], tasks(), 25).values, reports["a"].values)
    # Another seed of the training stream makes no difference to the bank, another seed of the bank does.
    assert np.array_equal(qs.evaluate(learners["a"], tasks(seed=9), 25).values, reports["a"].values)
    assert not np.array_equal(qs.evaluate(learners["a"], tasks(), 25, seed=1).values, reports["a"].values)
    seeded, _ = qs.compare(learners, tasks(), 25, seed=1)
    assert np.array_equal(seeded["a"].values, qs.evaluate(learners["a"], tasks(), 25, seed=1).values)


def test_paired_differences_are_narrower() -> None:
    shared = np.random.default_rng(1).normal(size=200)
    first = Report("accuracy", shared + 0.1)
    second = Report("accuracy", shared + 0.01 * np.random.default_rng(2).normal(size=200))
    (gap,) = differences({"x": first, "y": second})
    assert gap.significant
    assert gap.interval < 0.1 * first.interval


def test_learner_is_left_as_it_was() -> None:
    learner = MAML(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)))
    learner.adapted.net[1].eval()
    modes = [module.training for module in learner.modules()]
    weights = {name: value.clone() for name, value in learner.state_dict().items()}
    qs.evaluate(learner, tasks(), 5)
    assert [module.training for module in learner.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in learner.state_dict().items())
    learner.eval()
    qs.evaluate(learner, tasks(), 5)
    assert not learner.training

    class Fails(ProtoNet):
        def predict(self, state: Any, inputs: Any) -> torch.Tensor:
            raise ValueError("no")

    failing = Fails(mlp())
    with pytest.raises(ValueError, match="no"):
        qs.evaluate(failing, tasks(), 5)
    assert failing.training


def test_chunks_make_no_difference() -> None:
    learner = CLASSIFICATION["Reptile"](mlp, WAYS)
    done: list[tuple[int, int]] = []
    one = qs.evaluate(learner, tasks(), 12, chunk=5, progress=lambda *each: done.append(each))
    other = qs.evaluate(learner, tasks(), 12)
    assert np.array_equal(one.values, other.values)
    assert done == [(5, 12), (10, 12), (12, 12)]


def test_double_precision_learners_take_single_precision_tasks() -> None:
    assert qs.evaluate(MAML(mlp(3).double()), tasks(), 5).mean >= 0


def test_banks_have_as_many_tasks_as_they_have() -> None:
    assert len(qs.evaluate(NearestNeighbour(), tasks().bank(8), 1000).values) == 8
    assert len(qs.evaluate(NearestNeighbour(), tasks().bank(8), 3).values) == 3
    with pytest.raises(InputError, match="tasks must be at least 1"):
        qs.evaluate(NearestNeighbour(), tasks(), 0)


def test_batch_norm_policy_is_named() -> None:
    data = qs.datasets.arrays(torch.rand(40, 1, 16, 16), [i % 4 for i in range(40)])
    learner = ProtoNet(qs.nets.conv4(1, 4, size=16), batch_norm="transductive")
    report = qs.evaluate(learner, qs.tasks.FewShot(data, ways=3, queries=2), 5)
    assert str(report).endswith("batch norm: transductive")
    assert report.to_json()["batch_norm"] == "transductive"


def test_to_json() -> None:
    import json

    report = json.loads(json.dumps(qs.evaluate(MAML(mlp(3), steps=2), tasks(), 5).to_json()))
    assert report["learner"] == "MAML"
    assert report["tasks"] == 5
    assert len(report["curve"]) == 3
    assert report["distribution"]["ways"] == [3, 3]


def test_overfitting_gap() -> None:
    learner = ProtoNet(mlp())
    seen, new, gap = qs.overfitting_gap(learner, tasks(), qs.tasks.FewShot(make_blobs(9), ways=3, queries=4), 10)
    assert gap == pytest.approx(seen.mean - new.mean)


def test_keys_of_stochastic_learners_are_fixed() -> None:
    learner = CLASSIFICATION["Reptile"](mlp, WAYS).eval()
    report = qs.evaluate(learner, tasks(), 4, curve_steps=0)
    bank = tasks().bank(4)
    keys = random.fold_in(random.key(2024), torch.arange(4))
    batch = bank.batch(0, 4)
    outputs = batching.predict(learner, batching.adapt(learner, batch.support, keys), batch.query.inputs)
    expected = (outputs.argmax(2) == batch.query.labels).double().mean(1).numpy()
    np.testing.assert_allclose(report.values, expected)


def test_outputs_that_do_not_fit_the_targets_are_refused() -> None:
    learner = MAML(qs.nets.mlp(1, (4,), outputs=5))
    with pytest.raises(InputError, match=r"do not fit targets .*; build the net with as many outputs"):
        qs.evaluate(learner, qs.tasks.Sinusoid(shots=5, queries=5), tasks=3)
