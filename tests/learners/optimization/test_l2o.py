"""L2O against plain loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.core import Learner, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.learners import L2O
from quickstudy.objectives.inner_steps import InnerSteps
from quickstudy.problem import Optimizee, Problem
from quickstudy.rules import SGD, Adam, LSTMRule
from quickstudy.tasks import Quadratics
from quickstudy.testing.specimens import classification_task, problem_task

KEY = random.key(3)


def problem(**changes: object) -> Problem:
    task = batching.to_dtype(problem_task(None), torch.float64)
    parts = {name: getattr(task.support, name) for name in ("inputs", "labels", "start", "mask", "ways")}
    return Problem(**{**parts, **changes})  # type: ignore[arg-type]


def plain_loop(rule: LSTMRule, support: Problem, steps: int, second: bool) -> dict[str, Tensor]:
    """Return theta after some steps, gradients taken by autograd with or without their own derivative."""
    net, theta, state = support.inputs.net, dict(support.start), rule.start(support.start, steps)
    for _ in range(steps):
        theta = {name: value if value.requires_grad else value.requires_grad_() for name, value in theta.items()}
        loss = F.mse_loss(functional_call(net, theta, (support.inputs.inputs,)), support.labels)
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=second, retain_graph=True)
        if not second:
            grads = tuple(grad.detach() for grad in grads)
        theta, state = rule.update(dict(zip(theta, grads, strict=True)), state, theta, loss.detach())
    return theta


@pytest.mark.parametrize("second", [False, True])
def test_meta_gradient_of_a_plain_loop(second: bool) -> None:
    torch.manual_seed(0)
    rule, support = LSTMRule(hidden=3).double(), problem()
    learner = L2O(rule, steps=4, differentiation=Unrolled() if second else None)
    assert learner.exact_meta_gradient == second
    end, expected = learner.adapt(support).theta, plain_loop(rule, support, 4, second)
    torch.testing.assert_close(end, expected)

    def gradient(theta: dict[str, Tensor]) -> tuple[Tensor, ...]:
        loss = F.mse_loss(functional_call(support.inputs.net, theta, (support.inputs.inputs,)), support.labels)
        return torch.autograd.grad(loss, list(rule.parameters()))

    found = gradient(end)
    torch.testing.assert_close(found, gradient(expected))
    assert all(bool(grad.any()) for grad in found)


def test_gradients_of_the_optimizee_are_constants_by_default() -> None:
    """Second derivatives make a difference, and only where they are asked for."""
    torch.manual_seed(0)
    rule, support = LSTMRule(hidden=3).double(), problem()

    def gradient(differentiation: FirstOrder | Unrolled | None) -> Tensor:
        learner = L2O(rule, steps=4, differentiation=differentiation)
        (found,) = torch.autograd.grad(learner.loss(learner.adapt(support), support), rule.head.weight)
        return found

    torch.testing.assert_close(gradient(None), gradient(FirstOrder()), rtol=0, atol=0)
    assert not torch.allclose(gradient(None), gradient(Unrolled()), rtol=1e-3)


@pytest.mark.parametrize("differentiation", [FirstOrder(), Unrolled()])
def test_checkpoints_change_nothing(differentiation: FirstOrder | Unrolled) -> None:
    torch.manual_seed(0)
    rule, task = LSTMRule(hidden=3).double(), Task(problem(), problem())
    tasks, found = batching.stack([task, task]), []
    for every in (0, 3):
        learner = L2O(rule, steps=7, differentiation=differentiation, checkpoint=every)
        states = batching.adapt(learner, tasks.support)
        losses = batching.map_tasks(learner.loss, states, tasks.query)
        found.append(torch.autograd.grad(losses.sum(), list(rule.parameters())))
    torch.testing.assert_close(found[1], found[0])


def test_fixed_rules_are_the_optimisers_of_torch() -> None:
    support = problem()
    net = support.inputs.net
    for rule, build in ((SGD(0.1), torch.optim.SGD), (Adam(0.1), torch.optim.Adam)):
        parameters = {name: nn.Parameter(value.clone()) for name, value in support.start.items()}
        optimizer = build(parameters.values(), lr=0.1)
        for _ in range(6):
            optimizer.zero_grad()
            F.mse_loss(functional_call(net, parameters, (support.inputs.inputs,)), support.labels).backward()
            optimizer.step()
        found = L2O(rule, steps=6).adapt(support).theta
        torch.testing.assert_close(found, {name: value.detach() for name, value in parameters.items()})


def test_steps_of_the_problem_and_of_the_mode() -> None:
    learner = L2O(SGD(0.1), steps=4, test_steps=7)
    four, seven = (L2O(SGD(0.1), steps=n).adapt(problem()).theta for n in (4, 7))
    torch.testing.assert_close(learner.adapt(problem()).theta, four)
    torch.testing.assert_close(learner.eval().adapt(problem()).theta, seven)
    torch.testing.assert_close(learner.adapt(problem(steps=torch.tensor(4))).theta, four)


def test_mini_batches_learn_from_all_rows_and_need_less_of_them_a_step() -> None:
    support = problem()
    learner = L2O(SGD(0.05), steps=40, batch=2)
    start, end = (learner.loss(state, support) for state in (learner.start(support, KEY), learner.adapt(support, KEY)))
    assert end < 0.5 * start
    one, other = (learner.adapt(support, key).theta["head.weight"] for key in (KEY, random.key(4)))
    assert not torch.equal(one, other)


def test_tasks_that_are_no_problems_are_refused() -> None:
    with pytest.raises(InputError, match=r"GradientLearner\(AllParameters\(net\), rule"):
        L2O(SGD(0.1)).adapt(classification_task().support)
    support = problem()
    with pytest.raises(InputError, match="no optimisation problem"):
        L2O(SGD(0.1)).adapt(Examples(support.inputs, support.labels, check=False))
    learner = L2O(SGD(0.1), steps=1)
    with pytest.raises(InputError, match=r"Optimizee\(inputs, net\)"):
        learner.predict(learner.adapt(support), support.inputs.inputs)


def test_a_start_that_does_not_fit_the_net_is_refused() -> None:
    start = problem().start
    name = next(iter(start))
    for wrong in ({name: start[name]}, {**start, name: start[name].mT}, {**start, "extra": start[name]}):
        with pytest.raises(InputError, match="does not fit its net"):
            L2O(SGD(0.1)).adapt(problem(start=wrong))


def test_nets_with_batch_norm_are_refused() -> None:
    net = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).double()
    start = {name: value.detach() for name, value in net.named_parameters()}
    with pytest.raises(InputError, match="batch norm"):
        L2O(SGD(0.1)).adapt(problem(inputs=Optimizee(torch.zeros(6, 1), net), start=start))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": -1}, "steps must be 0 or more"),
        ({"checkpoint": -1}, "checkpoint must be 0"),
        ({"told": 1.5}, "told must be a share"),
        ({"batch": 0}, "batch must be at least 1 row"),
    ],
)
def test_arguments_are_checked(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        L2O(SGD(0.1), **wrong)  # type: ignore[arg-type]


def loss_after(learner: Learner, tasks: Task) -> float:
    with torch.no_grad():
        states = batching.adapt(learner.eval(), tasks.support)
        return float(batching.map_tasks(learner.loss, states, tasks.query).mean())


def test_meta_training_lowers_the_loss_on_quadratics() -> None:
    torch.manual_seed(0)
    learner = L2O(LSTMRule(hidden=8, layers=1), steps=5)
    tasks = Quadratics(dimensions=3)
    test = tasks.batch(10_000, 32)
    before = loss_after(learner, test)
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=0.02), steps=15, meta_batch=16, progress=False, compile=False)
    assert loss_after(learner, test) < 0.8 * before


@pytest.mark.slow
def test_learned_lstm_beats_gradient_descent_of_any_rate_on_quadratics() -> None:
    """As in Andrychowicz et al. 2016, section 3.1, figure 4: 100 steps, rates of a grid of 14."""
    torch.manual_seed(0)
    learner, test = L2O(LSTMRule(), steps=100), Quadratics(seed=1).batch(0, 256)
    outer = qs.outer.Truncated(20, lr=0.003)
    qs.meta_train(learner, Quadratics(), outer, steps=500, meta_batch=64, objective=InnerSteps(), progress=False)
    learned = loss_after(learner, test)
    fixed = [loss_after(L2O(SGD(10 ** (-3 + 4 * k / 13)), steps=100), test) for k in range(14)]
    assert learned < 0.5 * min(loss for loss in fixed if loss == loss)
