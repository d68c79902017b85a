"""Policy gradients against the exact gradient of the expected reward."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.core import Examples, Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian, GaussianMixture
from quickstudy.operators import trees
from quickstudy.outer import PolicyGradient
from quickstudy.outer.policy_gradient import draw
from tests.outer.test_evolution import train

ROWS = 4
DRAWS = 20_000


class Choice(Learner):
    """Gives each of three classes the logits of a net, shifted by the mean of the support."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, outputs).double()

    def adapt(self, support: Examples) -> Tensor:
        return self.net(support.inputs).mean(0)

    def predict(self, state: Tensor, inputs: Tensor) -> Any:
        return self.net(inputs) - 0.5 * state


def judge(answers: Tensor, query: Examples) -> Tensor:
    """Return 0.3, -1 or 2 for answering 0, 1 or 2, and 1 more where it is right."""
    value = torch.where(answers == 0, 0.3, torch.where(answers == 1, -1.0, 2.0)).double()
    return value + (answers == query.labels)


def tasks(count: int, masked: bool = False) -> tuple[Task, Tensor]:
    """Return copies of one task, each with its own key."""
    inputs = random.normal(random.key(3), ROWS, 2, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 1])
    mask = torch.tensor([True, True, False, True]) if masked else None
    rows = Examples(inputs, labels, mask, 3, check=False)
    every = trees.map_leaves(lambda leaf: leaf.expand(count, *leaf.shape), Task(rows, rows))
    return every, random.fold_in(random.key(8), torch.arange(count))


def per_task(outer: PolicyGradient, learner: Learner, objective: Any, batch: Task, keys: Tensor) -> Tensor:
    """Return the estimate (T, D) of each task."""
    weights = dict(learner.named_parameters())

    def of_one(values: dict[str, Tensor], task: Task, key: Tensor) -> Tensor:
        class Surrogate(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.learner = learner

            def forward(self, task: Task, key: Tensor) -> Tensor:
                return outer.surrogate(self.learner, objective, task, key)[0]

        named = {f"learner.{name}": value for name, value in values.items()}
        return torch.func.functional_call(Surrogate(), named, (task, key))

    found = torch.vmap(torch.func.grad(of_one), (None, 0, 0))(
        {name: value.detach() for name, value in weights.items()}, batch, keys
    )
    return torch.cat([found[name].flatten(1) for name in weights], 1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_expectation_is_the_exact_gradient(baseline: bool, masked: bool) -> None:
    learner, objective = Choice(), qs.objectives.Reward(judge)
    batch, keys = tasks(DRAWS, masked)
    found = per_task(PolicyGradient(2, baseline=baseline), learner, objective, batch, keys)
    # By enumeration of all answers to each row.
    task = trees.map_leaves(lambda leaf: leaf[0], batch)
    p = learner.predict(learner.adapt(task.support), task.query.inputs).softmax(1)
    rewards = torch.stack([judge(torch.full((ROWS,), answer), task.query) for answer in range(3)], 1)
    rows = (p * rewards).sum(1)
    rows = rows[task.query.mask] if masked else rows
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(-rows.mean(), list(learner.parameters()))])
    error = found.std(0) / DRAWS**0.5
    assert ((found.mean(0) - exact).abs() < 4 * error).all()
    assert exact.norm() > 10 * error.norm()


def test_baseline_lowers_variance() -> None:
    learner, objective = Choice(), qs.objectives.Reward(lambda answers, query: judge(answers, query) + 5)
    batch, keys = tasks(500)
    with_one, without = (
        per_task(PolicyGradient(4, baseline=baseline), learner, objective, batch, keys).var(0).sum()
        for baseline in (True, False)
    )
    assert with_one < without / 10


def test_estimate_is_the_mean_over_tasks() -> None:
    learner, objective = Choice(), qs.objectives.Reward(judge)
    batch, keys = tasks(6)
    outer = PolicyGradient(3)
    each = per_task(outer, learner, objective, batch, keys)
    for options in ({}, {"chunk_size": 4}, {"compile": "record"}):
        learner.zero_grad()
        losses = MetaLoss(learner, objective, **options)  # type: ignore[arg-type]
        shown = outer.estimate(losses, batch, keys)
        found = torch.cat([value.grad.flatten() for value in learner.parameters()])
        torch.testing.assert_close(found, each.mean(0), rtol=1e-6, atol=1e-9)
        assert shown.shape == (6,)
        assert losses.compile == options.get("compile", False)


def test_squared_errors_of_drawn_targets_give_the_gradient_of_the_squared_error() -> None:
    """E (mean + std z - y)^2 = (mean - y)^2 + std^2, with one derivative."""
    learner, objective = Choice(1), qs.objectives.Reward()
    batch, keys = tasks(DRAWS)
    labels = batch.query.labels.double().unsqueeze(-1)
    rows = Examples(batch.query.inputs, labels, check=False)
    batch = Task(rows, rows)
    found = per_task(PolicyGradient(4, exploration=0.5), learner, objective, batch, keys)
    task = trees.map_leaves(lambda leaf: leaf[0], batch)
    loss = (learner.predict(learner.adapt(task.support), task.query.inputs) - task.query.labels).square().mean()
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(learner.parameters()))])
    error = found.std(0) / DRAWS**0.5
    assert ((found.mean(0) - exact).abs() < 4 * error).all()
    assert exact.norm() > 10 * error.norm()


def test_draws_are_of_the_predictions() -> None:
    keys = random.fold_in(random.key(1), torch.arange(20_000))
    logits = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]])
    classes = torch.vmap(lambda key: draw(logits, key))(keys)
    shares = torch.stack([(classes == n).double().mean(0) for n in range(3)], 1)
    torch.testing.assert_close(shares, logits.softmax(1).double(), rtol=0, atol=0.015)
    normal = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0]))
    targets = torch.vmap(lambda key: draw(normal, key))(keys)
    torch.testing.assert_close(targets.mean(0), normal.mean, rtol=0, atol=0.05)
    torch.testing.assert_close(targets.std(0), normal.std, rtol=0.03, atol=0)
    weights = torch.tensor([[0.8, 0.2], [0.5, 0.5]])
    means = torch.tensor([[[0.0], [10.0]], [[-3.0], [3.0]]])
    mixture = GaussianMixture(means, torch.full_like(means, 0.1), weights.log())
    targets = torch.vmap(lambda key: draw(mixture, key))(keys)
    torch.testing.assert_close(targets.mean(0), mixture.mean, rtol=0, atol=0.15)
    torch.testing.assert_close(targets.std(0), mixture.std, rtol=0.03, atol=0)


def test_resumed_run_is_the_same(tmp_path: Path) -> None:
    reward = qs.objectives.Reward()
    train(tmp_path / "run", 3, PolicyGradient(4), reward)
    resumed = train(tmp_path / "run", 7, PolicyGradient(4), reward)
    whole = train(None, 7, PolicyGradient(4), reward)
    for a, b in zip(resumed.learner.parameters(), whole.learner.parameters(), strict=True):
        assert torch.equal(a, b)


def test_refusals() -> None:
    for objective, message in (
        ("query_loss", "query_loss has no reward.*outer.Gradient"),
        (qs.objectives.InnerSteps(qs.objectives.Reward()), "judges the end of learning alone, not InnerSteps"),
        (qs.objectives.WorstCase(of=qs.objectives.Reward()), "WorstCase weighs tasks"),
    ):
        with pytest.raises(InputError, match=message):
            train(None, 1, PolicyGradient(4), objective)
    for options, message in (
        ({"samples": 1}, "samples must be at least 2 with a baseline"),
        ({"samples": 0, "baseline": False}, "samples must be at least 1, not 0"),
        ({"exploration": 0.0}, "exploration must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            PolicyGradient(**options)  # type: ignore[arg-type]
