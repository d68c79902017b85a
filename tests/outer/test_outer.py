"""Outer optimisers and their schedules."""

import math

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.objectives import query_loss
from quickstudy.outer import Gradient, Outer, Reptile
from quickstudy.testing.contract import _variants
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp

TASKS = batching.stack(_variants(classification_task(), 3))
KEYS = random.fold_in(random.key(0), torch.arange(3))


def test_schedules() -> None:
    assert [Gradient(0.5).rate(step, 4) for step in range(4)] == [0.5] * 4
    assert [Gradient(0.4, schedule="linear").rate(step, 4) for step in (0, 1, 2, 3, 4)] == pytest.approx(
        [0.4, 0.3, 0.2, 0.1, 0.0]
    )
    cosine = Gradient(0.4, schedule="cosine")
    assert [cosine.rate(step, 4) for step in (0, 1, 2, 4)] == pytest.approx(
        [0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.0], abs=1e-12
    )
    halving = Gradient(0.4, schedule="halving", halve_every=10)
    assert [halving.rate(step, 99) for step in (0, 9, 10, 25)] == pytest.approx([0.4, 0.4, 0.2, 0.1])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_are_torchs(name: str) -> None:
    weights = [("w", torch.nn.Parameter(torch.zeros(2)))]
    optimiser = Gradient(0.1, optimizer=name, weight_decay=0.2, momentum=0.3).optimizer(weights)
    assert type(optimiser).__name__.lower() == name
    assert optimiser.defaults["lr"] == 0.1
    assert optimiser.defaults["weight_decay"] == 0.2
    if name == "sgd":
        assert optimiser.defaults["momentum"] == 0.3


def test_factors_slow_parts_down() -> None:
    body, head = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    named = [("net.body", body), ("head", head)]
    optimiser = Gradient(0.5, optimizer="sgd", factors={"net.": 0.1}).optimizer(named)
    assert {group["factor"]: group["params"] for group in optimiser.param_groups} == {0.1: [body], 1.0: [head]}
    with pytest.raises(InputError, match="begins with 'nett'"):
        Gradient(factors={"nett": 0.1}).optimizer(named)


def test_training_follows_the_factors(blobs: qs.datasets.ClassData) -> None:
    learner = qs.learners.ProtoNet(qs.nets.mlp(4, (5, 3)), "cosine")
    before = {name: value.detach().clone() for name, value in learner.named_parameters()}
    outer = Gradient(0.1, optimizer="sgd", schedule="linear", factors={"net.": 1e-4})
    qs.meta_train(learner, qs.tasks.FewShot(blobs, 3, 1, 2), outer, steps=1, meta_batch=1, progress=False)
    moves = {name: (value.detach() - before[name]).norm() for name, value in learner.named_parameters()}
    other = qs.learners.ProtoNet(qs.nets.mlp(4, (5, 3)), "cosine")
    other.load_state_dict(before)
    plain = Gradient(0.1, optimizer="sgd", schedule="linear")
    qs.meta_train(other, qs.tasks.FewShot(blobs, 3, 1, 2), plain, steps=1, meta_batch=1, progress=False)
    for name, value in other.named_parameters():
        factor = 1e-4 if name.startswith("net.") else 1.0
        torch.testing.assert_close(moves[name], factor * (value.detach() - before[name]).norm(), rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("kind", [Gradient, Reptile])
def test_wrong_arguments(kind: type[Outer]) -> None:
    for options, message in (
        ({"lr": 0}, "outer lr must be positive"),
        ({"optimizer": "adamm"}, "unknown outer optimizer 'adamm'; did you mean 'adam'"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"clip": 0}, "clip must be positive or None"),
    ):
        with pytest.raises(InputError, match=message):
            kind(**options)
    with pytest.raises(NotImplementedError):
        Outer(1.0).estimate(None, None, None)


def test_gradient_is_of_the_mean_loss() -> None:
    learner = CLASSIFICATION["MAML"](mlp, WAYS)
    losses = Gradient().estimate(MetaLoss(learner, query_loss, 2), TASKS, KEYS)
    mean = torch.stack([query_loss(learner, batching.select(TASKS, i), KEYS[i]) for i in range(3)])
    torch.testing.assert_close(losses, mean.detach())
    expected = torch.autograd.grad(mean.mean(), list(learner.parameters()))
    torch.testing.assert_close(tuple(p.grad for p in learner.parameters()), expected)


@pytest.mark.parametrize("size", [None, 1, 2])
def test_reptile_moves_towards_the_adapted_parameters(size: int | None) -> None:
    learner = CLASSIFICATION["Reptile"](mlp, WAYS)
    outer = Reptile()
    outer.estimate(MetaLoss(learner, query_loss, size), TASKS, KEYS)
    states = [learner.adapt(batching.select(TASKS, i).support, KEYS[i]) for i in range(3)]
    for name, value in learner.adapted.net.named_parameters():
        gap = torch.stack([value - state.theta[name] for state in states]).mean(0)
        torch.testing.assert_close(value.grad, gap, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ProtoNet", "needs a learner with an inner loop"),
        ("CAVIA", "does not end with other values"),
        ("ProtoMAML", "does not end with other values"),
        ("ADML", "does not end with other values"),
    ],
)
def test_reptile_refuses_what_it_cannot_move(name: str, message: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    with pytest.raises(InputError, match=f"{message}.*outer.Gradient"):
        Reptile().estimate(MetaLoss(learner, query_loss), TASKS, KEYS)


def test_reptile_moves_only_what_adapts() -> None:
    learner = CLASSIFICATION["ANIL"](mlp, WAYS)
    Reptile().estimate(MetaLoss(learner, query_loss), TASKS, KEYS)
    moved = {name for name, value in learner.adapted.net.named_parameters() if value.grad is not None}
    assert moved == {"head.weight", "head.bias"}


def test_reptile_learns_sinusoids() -> None:
    learner = qs.learners.Reptile(
        qs.nets.mlp(1, (32, 32), 1), lr=0.02, steps=8, batch=None, test_steps=8, optimizer="sgd"
    )
    tasks = qs.tasks.Sinusoid(shots=10, queries=10)
    before = qs.evaluate(learner, tasks, 100).mean
    run = qs.meta_train(learner, tasks, steps=150, meta_batch=4, progress=False)
    assert qs.evaluate(run.learner, tasks, 100).mean < 0.9 * before


def test_passing_otherwise_leaves_the_learner_as_it_is() -> None:
    learner = CLASSIFICATION["MAML"](mlp, WAYS)
    before = learner.differentiation
    qs.meta_train(
        learner,
        qs.tasks.OneTask(classification_task()),
        Gradient(through=qs.inner.differentiation.FirstOrder()),
        steps=1,
        progress=False,
    )
    assert learner.differentiation is before
    with pytest.raises(InputError, match="through must be a differentiation"):
        Gradient(through="FirstOrder")  # type: ignore[arg-type]
