"""A learned loss, on problems where it is known what it should be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quickstudy import Examples, Learner, Task, batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.learners import LearnedLoss
from quickstudy.objectives import query_loss
from quickstudy.testing.specimens import WAYS, classification_task, mlp


def lines(count: int, shift: float, seed: int = 0) -> Task:
    """Return tasks y = a x + b, whose support has `shift` added to its targets."""
    rows = torch.Generator().manual_seed(seed)
    a, b = (4 * torch.rand(count, 1, 1, generator=rows) - 2 for _ in range(2))
    x, u = (2 * torch.rand(count, 10, 1, generator=rows) - 1 for _ in range(2))
    return Task(Examples(x, a * x + b + shift, check=False), Examples(u, a * u + b, check=False))


def trained(learner: Learner, tasks: Task, steps: int) -> Learner:
    adam = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=0.03)
    keys = random.fold_in(random.key(0), torch.arange(batching.count(tasks)))
    for _ in range(steps):
        adam.zero_grad()
        MetaLoss(learner, query_loss).backward(tasks, keys)
        adam.step()
    return learner


def error(learner: Learner, tasks: Task) -> float:
    keys = random.fold_in(random.key(1), torch.arange(batching.count(tasks)))
    with torch.no_grad():
        states = batching.adapt(learner, tasks.support, keys)
        outputs = batching.predict(learner, states, tasks.query.inputs)
    return float((outputs - tasks.query.labels).square().mean())


def least_squares(tasks: Task, lr: float, steps: int) -> float:
    """Return the error after gradient descent on the squared error from zero."""
    x, u = (torch.cat([rows.inputs, torch.ones_like(rows.inputs)], -1) for rows in (tasks.support, tasks.query))
    theta = torch.zeros(len(x), 2, 1)
    for _ in range(steps):
        theta = theta - lr * 2 / x.shape[1] * x.mT @ (x @ theta - tasks.support.labels)
    return float((u @ theta - tasks.query.labels).square().mean())


def test_its_minimum_is_where_the_truth_is() -> None:
    """Targets that are all too high by 1 teach a loss that is least 1 below them, as no squared error can be."""
    torch.manual_seed(0)
    shift = 1.0
    learner = LearnedLoss(nn.Linear(1, 1), hidden=(16,), lr=0.5, steps=3)
    trained(learner, lines(16, shift), 100)
    targets, errors = torch.linspace(-1.5, 1.5, 5), torch.linspace(-3, 3, 121)
    with torch.no_grad():
        losses = learner.inner(targets[:, None] + errors, targets[:, None].expand(-1, 121))
    assert bool(((errors[losses.argmin(1)] + shift).abs() < 0.5).all())
    far = (errors + shift).abs() > 0.75
    slopes: Tensor = torch.gradient(losses, dim=1)[0]
    assert bool((slopes.sign() == (errors + shift).sign())[:, far].all())
    held_out = lines(64, shift, seed=1)
    best = min(least_squares(held_out, lr, 3) for lr in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    assert error(learner, held_out) < 0.7 * best


def test_classes() -> None:
    """A loss of log-probabilities is learned as well, and absent classes have no part in it."""
    torch.manual_seed(0)
    task = classification_task()
    batch = batching.stack([task] * 4)
    learner = LearnedLoss(mlp(WAYS), hidden=(8,), lr=3.0, steps=2)
    keys = random.fold_in(random.key(2), torch.arange(4))
    with torch.no_grad():
        before = float(MetaLoss(learner, query_loss)(batch, keys).mean())
    trained(learner, batch, 40)
    with torch.no_grad():
        after = float(MetaLoss(learner, query_loss)(batch, keys).mean())
    assert after < 0.8 * before
    shown = Examples(task.support.inputs[:2], torch.tensor([0, 1]), ways=WAYS)
    values = learner.adapt(shown, random.key(0)).theta.values()
    assert all(torch.isfinite(value).all() for value in values)


def test_each_task_starts_elsewhere() -> None:
    learner = LearnedLoss(mlp(WAYS), steps=0)
    rows = classification_task().support
    one, other = (learner.adapt(rows, random.key(k)).theta["body.0.weight"] for k in (0, 1))
    assert not torch.equal(one, other)
    again = learner.adapt(rows, random.key(0)).theta["body.0.weight"]
    assert torch.equal(one, again)
    assert float(one.abs().max()) <= 1 / 2  # fan-in of 4
    assert {name for name, p in learner.named_parameters() if p.requires_grad} == {
        f"inner.layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")
    }
    dense = Examples(torch.randn(2, 4), torch.zeros(2, 3, dtype=torch.long), ways=2)
    with pytest.raises(InputError, match="one label per row"):
        learner.inner_loss.value(learner, learner.adapt(rows).theta, dense)
