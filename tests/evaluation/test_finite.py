"""A learner that answers NaN or infinity has no figure, wherever it is judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import NonFiniteError
from quickstudy.evaluation import predictions, reliability
from quickstudy.functional.predictive import Gaussian, GaussianMixture
from quickstudy.learners import MAML, NearestNeighbour, ProtoNet
from quickstudy.testing.specimens import mlp
from tests.helpers.blobs import make_blobs

DATA = make_blobs()
TASKS = qs.tasks.FewShot(DATA, ways=3, shots=1, queries=4)


class Spoiled(NearestNeighbour):
    """Answers as the nearest neighbour does, but for some tasks: those whose first query number is above a bound."""

    def __init__(self, with_what: float, above: float = 0.0, column: int | None = None) -> None:
        super().__init__()
        self.with_what, self.above, self.column = with_what, above, column

    def predict(self, state: Any, inputs: Any) -> Tensor:
        logits = super().predict(state, inputs)
        where = (inputs.flatten()[0] > self.above) & torch.ones_like(logits, dtype=torch.bool)
        if self.column is not None:
            where = where & (torch.arange(logits.shape[1]) == self.column)
        return torch.where(where, self.with_what, logits)


def with_nan_weights(learner: qs.Learner) -> qs.Learner:
    with torch.no_grad():
        for p in learner.parameters():
            p.fill_(math.nan)
    return learner


@pytest.mark.parametrize("with_what", [math.nan, math.inf, -math.inf])
def test_answers_that_are_no_numbers_in_some_tasks_are_not_scored(with_what: float) -> None:
    learner, bank = Spoiled(with_what), TASKS.bank(40)
    bad = [i for i in range(40) if float(bank.batch(i, 1).query.inputs.flatten()[0]) > 0]
    assert 5 < len(bad) < 35
    said = rf"Spoiled answers NaN or infinity in {len(bad)} of 40 tasks, first in task {bad[0]}, .* inner loop diverges"
    for options in ({}, {"chunk": 7}, {"metric": "auc"}, {"metric": "mrr"}, {"metric": "hits@1"}):
        with pytest.raises(NonFiniteError, match=said):
            qs.evaluate(learner, bank, 40, **options)
    assert qs.evaluate(Spoiled(with_what, above=1e9), bank, 40).mean > 0.4


def test_a_logit_of_minus_infinity_is_a_probability_of_zero_and_nan_is_none() -> None:
    one = {"above": -1e9, "column": 2}
    report = qs.evaluate(Spoiled(-math.inf, **one), TASKS, 40)
    assert 0 < report.accuracy < 0.7, "the third class is never named"
    assert math.isfinite(report.calibration)
    with pytest.raises(NonFiniteError, match="40 of 40 tasks, first in task 0"):
        qs.evaluate(Spoiled(math.nan, **one), TASKS, 40)


@pytest.mark.parametrize(
    "learner", [ProtoNet(mlp()), ProtoNet(mlp(), distance="cosine"), MAML(mlp(3)), qs.learners.MatchingNet(mlp())]
)
def test_weights_that_are_no_numbers_are_named(learner: qs.Learner) -> None:
    name = next(iter(dict(learner.named_parameters())))
    with pytest.raises(NonFiniteError, match=rf"9 of 9 tasks.*parameter '{name}' is itself not finite: train anew"):
        qs.evaluate(with_nan_weights(learner), TASKS, 9)


def test_rows_that_are_embedded_once_are_looked_at_too() -> None:
    small = qs.datasets.arrays(np.random.default_rng(0).normal(size=(24, 4)), np.arange(24) % 4)
    learner = with_nan_weights(ProtoNet(qs.nets.mlp(4, (4,), 2)))
    with pytest.raises(NonFiniteError, match="300 of 300 tasks"):
        qs.evaluate(learner, qs.tasks.FewShot(small, 2, 1, 3), 300)


@pytest.mark.parametrize("steps", [0, None])
def test_an_inner_loop_that_diverges_is_refused(steps: int | None) -> None:
    with pytest.raises(NonFiniteError, match=r"MAML answers NaN or infinity in 12 of 12 tasks"):
        qs.evaluate(MAML(mlp(3), lr=1e30, steps=5), TASKS, 12, curve_steps=steps)
    with pytest.raises(NonFiniteError, match=r"MAML answers NaN or infinity in \d+ of 12 tasks"):
        qs.evaluate(MAML(qs.nets.mlp(1, (4,), 1), lr=1e20, steps=4), qs.tasks.Sinusoid(), 12, curve_steps=steps)


def test_steps_beyond_those_of_training_may_diverge_and_have_no_mean() -> None:
    """The figure is of training's steps; the curve goes on, without a number where there is none."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3))
    learner = MAML(net, lr=1e13, steps=1)
    report = qs.evaluate(learner, TASKS, 12, metric="accuracy", curve_steps=40)
    assert math.isfinite(report.mean)
    assert len(report.curve) == 41
    assert report.curve[1] == pytest.approx(report.mean)
    squared = MAML(qs.nets.mlp(1, (4,), 1), lr=30.0, steps=1)
    curve = qs.evaluate(squared, qs.tasks.Sinusoid(), 12, curve_steps=60).curve
    assert math.isfinite(curve[1])
    assert math.isnan(curve[-1])
    assert not any(math.isinf(value) for value in curve)


def test_other_judges_of_predictions_refuse_them_too() -> None:
    with pytest.raises(NonFiniteError, match="answers NaN or infinity"):
        list(predictions(Spoiled(math.nan), TASKS, 12))
    with pytest.raises(NonFiniteError, match="answers NaN or infinity"):
        reliability(Spoiled(math.nan), TASKS, 12)
    with pytest.raises(NonFiniteError, match="Spoiled answers"):
        qs.compare({"good": NearestNeighbour(), "bad": Spoiled(math.nan)}, TASKS, 12)
    with pytest.raises(NonFiniteError, match="Spoiled answers"):
        qs.overfitting_gap(Spoiled(math.nan), TASKS, TASKS, 12)


def test_validation_in_training_refuses_them() -> None:
    class Grows(ProtoNet):
        """Is well in training, and answers nothing when it is judged."""

        def predict(self, state: Any, inputs: Any) -> Tensor:
            return super().predict(state, inputs) * (1.0 if self.training else math.nan)

    seen, new = (qs.tasks.FewShot(DATA.subset(range(*part)), 3, 1, 4) for part in ((0, 6), (6, 12)))
    with pytest.raises(NonFiniteError, match="Grows answers NaN or infinity in 5 of 5 tasks"):
        qs.meta_train(Grows(mlp()), seen, validation=new, steps=2, meta_batch=2, validation_tasks=5, progress=False)


def test_sequences() -> None:
    class Silent(NearestNeighbour):
        def predict(self, state: Any, inputs: Any) -> Tensor:
            return super().predict(state, inputs) * math.nan

    with pytest.raises(NonFiniteError, match="Silent answers NaN or infinity in 4 of 4 tasks"):
        qs.evaluate(Silent(), qs.tasks.Sequential(DATA, 3, 3), 4)


class Told(qs.Learner):
    """Predicts what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def adapt(self, support: qs.Examples) -> Any:
        return support.inputs.sum()

    def predict(self, state: Any, inputs: Any) -> Any:
        return self.answer(inputs[:, :1] + 0 * state)


@pytest.mark.parametrize(
    ("answer", "metric", "fine"),
    [
        (lambda x: x, "mse", True),
        (lambda x: x / 0, "mse", False),
        (lambda x: x * 1e30, "mse", True),
        (lambda x: x.double() * 1e200, "mse", False),
        (lambda x: Gaussian(x, torch.ones_like(x)), "log_likelihood", True),
        (lambda x: Gaussian(x, x * math.nan), "log_likelihood", False),
        (lambda x: Gaussian(x, x * math.nan), "mse", False),
        (lambda x: Gaussian(x, torch.full_like(x, 1e-30)), "log_likelihood", False),
        (
            lambda x: GaussianMixture(
                torch.stack([x, x], 1), torch.ones(len(x), 2, 1), torch.tensor([0.0, -math.inf]).expand(len(x), 2)
            ),
            "log_likelihood",
            True,
        ),
    ],
)
def test_regression(answer: Any, metric: str, fine: bool) -> None:
    tasks = qs.tasks.Sinusoid(queries=5)
    if fine:
        assert math.isfinite(qs.evaluate(Told(answer), tasks, 4, metric=metric).mean)
    else:
        with pytest.raises(NonFiniteError, match="Told answers NaN or infinity in 4 of 4 tasks"):
            qs.evaluate(Told(answer), tasks, 4, metric=metric)


def test_padding_may_answer_anything_and_tasks_without_a_query_do_not_count() -> None:
    from quickstudy.evaluation.finite import no_answer

    counts = torch.tensor([[True, False], [True, True], [False, False]])
    query = qs.Examples(torch.zeros(3, 2, 1), torch.zeros(3, 2).long(), counts, 2, check=False)
    outputs = torch.zeros(3, 2, 2)
    outputs[0, 1], outputs[1, 1, 0], outputs[2] = math.nan, math.nan, math.inf
    assert no_answer(outputs, query).tolist() == [False, True, False]
