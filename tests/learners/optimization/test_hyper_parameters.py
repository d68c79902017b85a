"""Hyper-gradients against closed form and finite differences; weights of auxiliary losses whose worth is known."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Examples, Task
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Implicit, Unrolled
from quickstudy.learners import AuxiliaryLosses, HyperParameters
from quickstudy.learners.optimization.hyper_parameters import Strengths
from quickstudy.testing.specimens import classification_task, mlp, regression_task

pytestmark = pytest.mark.usefixtures("float64")


def loss(learner: qs.Learner, task: Task) -> Tensor:
    return learner.loss(learner.adapt(task.support), task.query)


def slopes(
    learner: HyperParameters, parameter: nn.Parameter, task: Task, numbers: Iterable[int] | None = None
) -> Tensor:
    """Return central differences of the loss by numbers of a parameter; None for each."""
    found, at, step = [], parameter.detach().clone(), 1e-5
    with torch.no_grad():
        for number in range(len(parameter)) if numbers is None else numbers:
            ends = []
            for sign in (1, -1):
                parameter.copy_(at)
                parameter[number] += sign * step
                ends.append(loss(learner, task))
            found.append((ends[0] - ends[1]) / (2 * step))
        parameter.copy_(at)
    return torch.stack(found)


@pytest.mark.parametrize("task", [classification_task(), regression_task()], ids=["classes", "targets"])
def test_every_hyper_gradient_is_the_slope_of_the_loss(task: Task) -> None:
    net = mlp(3 if task.support.ways else 1, inputs=task.support.inputs.shape[1])
    learner = HyperParameters(net, lr=0.2, weight_decay=0.1, l1=0.02, steps=6)
    task = qs.batching.to_dtype(task, torch.float64)
    loss(learner, task).backward()
    for parameter in (learner.rule.log_lr, learner.log_weight_decay, learner.log_l1):
        assert parameter is not None
        assert len(parameter) == 3
        assert float(parameter.grad.abs().min()) > 1e-5
        torch.testing.assert_close(parameter.grad, slopes(learner, parameter, task), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("strengths", "counts"), [("input", (4, 6, 8)), ("weight", (24, 48, 24))])
def test_strengths_of_inputs_and_of_weights(strengths: Strengths, counts: tuple[int, ...]) -> None:
    task = qs.batching.to_dtype(classification_task(), torch.float64)
    net = mlp(3)
    learner = HyperParameters(net, 0.2, 0.1, 0.02, strengths, steps=3)
    plain = HyperParameters(net, 0.2, 0.1, 0.02, steps=3)
    for parameter, shared in ((learner.log_weight_decay, plain.log_weight_decay), (learner.log_l1, plain.log_l1)):
        assert parameter is not None
        assert shared is not None
        loss(learner, task).backward()
        loss(plain, task).backward()
        assert len(parameter) == sum(counts)
        # All alike, they are the layer's, and the slopes by each add up to the slope by that.
        sums = torch.stack([part.sum() for part in parameter.grad.split(counts)])
        torch.testing.assert_close(sums, shared.grad)
        some = [1, len(parameter) // 2, len(parameter) - 1]
        torch.testing.assert_close(parameter.grad[some], slopes(learner, parameter, task, some), rtol=1e-5, atol=1e-9)
        learner.zero_grad()
        plain.zero_grad()
    shapes = [torch.tensor(value).shape for value in learner.values()["l1"].values()]
    of_net = [value.shape for value in net.parameters() if value.ndim > 1]
    assert shapes == (of_net if strengths == "weight" else [shape[1:] for shape in of_net])
    with pytest.raises(InputError, match="unknown strengths 'pixel'"):
        HyperParameters(net, strengths="pixel")


@pytest.mark.parametrize("passing", [Unrolled(), Implicit("neumann", 200), Implicit("cg", 8)], ids=str)
def test_weight_decay_of_least_squares(passing: Differentiation) -> None:
    """theta* = (2 X'X/n + d)^-1 2 X'y/n, and d loss / d log d = -d g' (2 X'X/n + d)^-1 theta*."""
    x, y, u, v = (torch.randn(12, size) for size in (3, 1, 3, 1))
    strength, net = 0.4, nn.Linear(3, 1, bias=False)
    learner = HyperParameters(net, lr=0.2, weight_decay=strength, steps=150, differentiation=passing)
    if passing == Implicit("cg", 8):
        # With a rate for each layer the step's derivative is not symmetric.
        assert "needs an update like plain gradient descent's" in (learner.accepts(passing) or "")
        return
    normal = 2 / 12 * x.T @ x + strength * torch.eye(3)
    theta = torch.linalg.solve(normal, 2 / 12 * x.T @ y)
    torch.testing.assert_close(learner.adapt(Examples(x, y)).theta["weight"].T, theta)
    loss(learner, Task(Examples(x, y), Examples(u, v))).backward()
    outer = 2 / 12 * u.T @ (u @ theta - v)
    expected = -strength * (outer.T @ torch.linalg.solve(normal, theta)).reshape(1)
    torch.testing.assert_close(learner.log_weight_decay.grad, expected)
    # At its end the rate no longer matters.
    assert float(learner.rule.log_lr.grad.abs()) < 1e-9


def noisy() -> Task:
    """Return 8 rows of 12 features, of which one matters, beside noise; and 200 rows to be judged by."""
    rows = torch.Generator().manual_seed(1)

    def draw(count: int, noise: float) -> Examples:
        x = torch.randn(count, 12, generator=rows)
        return Examples(x, x[:, :1] + noise * torch.randn(count, 1, generator=rows))

    return Task(draw(8, 1.0), draw(200, 0.0))


def test_online_and_implicit_raise_the_decay_where_it_helps() -> None:
    task = noisy()
    grid = {decay: _of_ridge(task, decay) for decay in (1e-3, 1e-2, 0.1, 1.0, 3.0, 10.0, 30.0)}
    for outer in (
        qs.outer.Truncated(length=5, lr=0.3),
        qs.outer.Gradient(lr=0.5, through=Implicit("neumann", 10)),
    ):
        learner = HyperParameters(_zeros(), 0.1, 1e-3, steps=100 if isinstance(outer, qs.outer.Gradient) else 10_000)
        learner.rule.log_lr.requires_grad_(False)
        tasks, steps = qs.tasks.OneTask(task), 40 if isinstance(outer, qs.outer.Truncated) else 20
        objective = "InnerSteps" if isinstance(outer, qs.outer.Truncated) else None
        qs.meta_train(
            learner,
            tasks,
            outer,
            steps=steps,
            meta_batch=1,
            objective=objective,
            compile=False,
            progress=False,
            precision="64-true",
        )
        found = learner.values()["weight_decay"][""]
        assert found > 1, outer
        assert _of_ridge(task, found) < 1.1 * min(grid.values()) < 0.8 * grid[1e-3], outer


def _of_ridge(task: Task, decay: float) -> float:
    """Return the loss on the query of the support's minimum."""
    x, y = task.support.inputs, task.support.labels
    theta = torch.linalg.solve(2 / len(x) * x.T @ x + decay * torch.eye(12), 2 / len(x) * x.T @ y)
    return float((task.query.inputs @ theta - task.query.labels).square().mean())


def _zeros() -> nn.Linear:
    net = nn.Linear(12, 1, bias=False)
    nn.init.zeros_(net.weight)
    return net


def test_the_start_is_a_copy_that_nothing_learns() -> None:
    net = mlp(3)
    learner = HyperParameters(net, steps=1)
    assert all(value.requires_grad for value in net.parameters())
    learned = [name for name, value in learner.named_parameters() if value.requires_grad]
    assert learned == ["log_weight_decay", "rule.log_lr"]
    assert set(learner.values()) == {"lr", "weight_decay"}
    assert "1e" not in str(learner.values()["lr"])
    for wrong in ({"lr": 0.0}, {"weight_decay": 0.0}, {"l1": -1.0}, {"lr": float("inf")}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} must be (positive and )?finite"):
            HyperParameters(net, **wrong)


def test_a_helpful_auxiliary_loss_outweighs_a_harmful_one() -> None:
    """Targets without noise help a main loss whose few targets are noisy; random ones harm: their weight goes to 0."""
    rows = torch.Generator().manual_seed(2)
    x, hidden = torch.randn(30, 6, generator=rows), torch.randn(6, 2, generator=rows)
    features = torch.tanh(x @ hidden)
    labels = features.sum(1, keepdim=True) + 0.8 * torch.randn(30, 1, generator=rows)
    noise = 2 * torch.randn(30, 2, generator=rows)
    unseen = torch.randn(200, 6, generator=rows)
    task = Task(
        Examples({"inputs": x, "features": features, "noise": noise}, labels),
        Examples({"inputs": unseen}, torch.tanh(unseen @ hidden).sum(1, keepdim=True)),
    )
    torch.manual_seed(0)
    net = qs.nets.mlp(6, (8,), outputs=5)
    learner = AuxiliaryLosses(net, 1, {"features": 2, "noise": 2}, weight=0.5, lr=0.1, steps=40)
    before = float(loss(learner, task).detach())
    qs.meta_train(
        learner,
        qs.tasks.OneTask(task),
        qs.outer.Gradient(lr=0.3),
        steps=8,
        meta_batch=1,
        compile=False,
        progress=False,
        precision="64-true",
    )
    weights = learner.weights()
    assert weights["noise"] < 0.1 < 0.4 < weights["features"]
    assert float(loss(learner, task).detach()) < 0.85 * before


def test_auxiliary_targets_that_do_not_fit() -> None:
    net = qs.nets.mlp(4, (5,), outputs=5)
    rows = Examples(torch.randn(3, 4), torch.randn(3, 1))
    with pytest.raises(InputError, match="lack the targets 'depth'"):
        AuxiliaryLosses(net, 1, {"depth": 4}).adapt(rows)
    with pytest.raises(InputError, match="have 4 numbers a row, not 3"):
        AuxiliaryLosses(net, 1, {"inputs": 3, "labels": 1}).adapt(rows)
    with pytest.raises(InputError, match=r"needs outputs=1 of the main loss \+ 3"):
        AuxiliaryLosses(net, 1, {"inputs": 3}).adapt(rows)
    for wrong in ({}, {"inputs": 0}):
        with pytest.raises(InputError, match="at least one auxiliary target must be positive"):
            AuxiliaryLosses(net, 1, wrong)
    with pytest.raises(InputError, match="weight must be positive"):
        AuxiliaryLosses(net, 1, {"inputs": 4}, weight=0.0)
