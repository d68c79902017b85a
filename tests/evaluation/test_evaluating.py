"""Meta-testing: metrics by loops, curves, calibration, chunks, and learners left as they were."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.evaluation import interval95
from quickstudy.functional import random
from quickstudy.learners import MAML, NearestNeighbour, ProtoNet
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def tasks(**options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(DATA, **{"ways": 3, "shots": 1, "queries": 4, **options})


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
