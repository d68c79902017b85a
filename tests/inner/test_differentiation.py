"""Outer gradients through inner loops, against hyper-gradients in closed form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy import Examples, Task, batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.adapted import AllParameters, HeadParameters, Theta
from quickstudy.inner.differentiation import SAMA, Differentiation, FirstOrder, Implicit, Unrolled
from quickstudy.inner.losses import InnerLoss, TaskLoss
from quickstudy.learners import IMAML, MAML, GradientLearner, MetaSGD
from quickstudy.objectives import query_loss
from quickstudy.rules import SGD, Adam, LearnedRates, ProximalSGD, Rule
from quickstudy.testing.contract import _variants
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, conv4, mlp
from tests.helpers import bilevel
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")

SIZE, ROWS, LR, STRENGTH = 4, 20, 0.2, 0.7
CG, SERIES = Implicit("cg", SIZE), Implicit("neumann", 80)


def keys(count: int) -> Tensor:
    return random.fold_in(random.key(0), torch.arange(count))


def exactly(found: Tensor, expected: Tensor) -> None:
    """Assert equality to 1e-6 of the largest number, and that there is something to compare."""
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def gradients(learner: GradientLearner, tasks: Task) -> dict[str, Tensor]:
    """Return meta-gradients of a batch by name, without those that are None."""
    learner.zero_grad()
    MetaLoss(learner, query_loss).backward(tasks, keys(batching.count(tasks)))
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


class TiltedLoss(TaskLoss):
    """The task's loss minus the learner's linear term."""

    def value(self, learner: Tilted, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        return super().value(learner, theta, rows, classes) - (theta["weight"] * learner.tilt).sum()


class Tilted(GradientLearner):
    """Least squares with a learned linear term: 1/2 theta' H theta - (c + tilt)' theta, from a learned start."""

    def __init__(self, rule: Rule, differentiation: Differentiation, steps: int = 80) -> None:
        start = AllParameters(nn.Linear(SIZE, 1, bias=False))
        super().__init__(start, rule, differentiation, steps, loss=TiltedLoss())
        self.tilt = nn.Parameter(torch.randn(1, SIZE))


class Problem:
    """A task of least squares, and the derivatives of its losses."""

    def __init__(self) -> None:
        self.x, self.y, self.u, self.v = (torch.randn(ROWS, size) for size in (SIZE, 1, SIZE, 1))
        self.task = Task(Examples(self.x, self.y), Examples(self.u, self.v))
        self.batch = batching.stack([self.task])
        self.H, self.c = 2 / ROWS * self.x.T @ self.x, 2 / ROWS * self.x.T @ self.y
        self.eye = torch.eye(SIZE)

    def minimum(self, learner: Tilted, strength: float) -> Tensor:
        """Return theta* (D, 1) of the inner loss + strength/2 |theta - theta_0|^2."""
        right = self.c + learner.tilt.T + strength * learner.adapted.net.weight.T
        return torch.linalg.solve(self.H + strength * self.eye, right).detach()

    def outer(self, theta: Tensor) -> Tensor:
        """Return the outer gradient (D, 1) at theta."""
        return 2 / ROWS * self.u.T @ (self.u @ theta - self.v)


@pytest.mark.parametrize(
    "differentiation",
    [Unrolled(), CG, SERIES, *(Implicit("neumann", k) for k in (0, 1, 5)), FirstOrder(), SAMA()],
    ids=str,
)
def test_start_and_learned_loss_of_a_quadratic(differentiation: Differentiation) -> None:
    """Exact, or biased as stated, at (H + s)^-1 (c + tilt + s theta_0)."""
    problem = Problem()
    learner = Tilted(ProximalSGD(LR, STRENGTH), Unrolled())
    learner.differentiation = differentiation
    theta = problem.minimum(learner, STRENGTH)
    torch.testing.assert_close(learner.adapt(problem.task.support).theta["weight"].detach(), theta.T)
    found, g = gradients(learner, problem.batch), problem.outer(theta)
    damped = problem.H + STRENGTH * problem.eye
    solved = torch.linalg.solve(damped, g)
    if isinstance(differentiation, FirstOrder):
        # The pull to the start is not of the loss: its derivative stays, and with it d theta / d theta_0 = I.
        exactly(found["adapted.net.weight"].T, g)
        assert "tilt" not in found
        return
    if isinstance(differentiation, SAMA):
        solved = LR * g
    elif isinstance(differentiation, Implicit) and differentiation.steps < 10 and differentiation.solver == "neumann":
        missing = torch.linalg.matrix_power(problem.eye - LR * damped, differentiation.steps + 1)
        solved = (problem.eye - missing) @ solved
    exactly(found["tilt"].T, solved)
    exactly(found["adapted.net.weight"].T, STRENGTH * solved)


def test_neumann_series_of_a_derivative_that_is_not_symmetric() -> None:
    """With a rate for each number, diag(a) H is not symmetric; the minimum and its derivative H^-1 are the same."""
    problem = Problem()
    rule = LearnedRates({"weight": torch.zeros(1, SIZE)}, LR)
    learner = Tilted(rule, Implicit("neumann", 300), steps=300)
    found = gradients(learner, problem.batch)
    exactly(found["tilt"].T, torch.linalg.solve(problem.H, problem.outer(problem.minimum(learner, 0.0))))
    torch.testing.assert_close(found["rule.alpha.weight"], torch.zeros(1, SIZE))
    # Conjugate gradient would give something else without a word.
    learner.differentiation = CG
    with pytest.raises(InputError, match=r"symmetric.*use Implicit\('neumann'\)"):
        learner.adapt(problem.task.support)


class RidgeRule(Rule):
    """Gradient descent on loss + exp(log_strength) |theta|^2."""

    symmetric = True

    def __init__(self, lr: float, strength: float) -> None:
        super().__init__()
        self.lr, self.log_strength = lr, nn.Parameter(torch.tensor(strength).log())

    def update(
        self, grads: dict[str, Tensor], state: object, theta: dict[str, Tensor], loss: Tensor | None = None
    ) -> tuple[dict[str, Tensor], object]:
        decay = 2 * self.log_strength.exp()
        return {name: theta[name] - self.lr * (grads[name] + decay * theta[name]) for name in theta}, state


@pytest.mark.parametrize("differentiation", [Unrolled(), Unrolled(20), CG, SERIES, SAMA()], ids=str)
def test_strength_of_ridge_regression(differentiation: Differentiation) -> None:
    """(X'X/n + strength) theta = X'y/n, and the derivative of the validation loss by log strength."""
    from sklearn.linear_model import Ridge

    problem, strength = Problem(), 0.3
    learner = GradientLearner(bilevel.Vector(torch.ones(SIZE)), RidgeRule(LR, strength), differentiation, 80)
    normal = problem.x.T @ problem.x / ROWS + strength * problem.eye
    theta = torch.linalg.solve(normal, problem.x.T @ problem.y / ROWS)
    known = Ridge(ROWS * strength, fit_intercept=False).fit(problem.x.numpy(), problem.y.numpy().ravel()).coef_
    torch.testing.assert_close(theta.ravel(), torch.as_tensor(known))
    slope = -strength * torch.linalg.solve(normal, theta)
    if isinstance(differentiation, SAMA):
        # The identity for 1 - dPhi/dtheta = 2 lr (X'X/n + strength).
        slope = -2 * LR * strength * theta
    found = gradients(learner, problem.batch)
    assert list(found) == ["rule.log_strength"]
    exactly(found["rule.log_strength"], (slope * problem.outer(theta)).sum())


def test_checkpointed_is_unrolled() -> None:
    tasks = bilevel.Parabolas(seed=1).draw(torch.arange(3))
    learner = bilevel.learner(steps=11)
    learner.differentiation = Unrolled(checkpoint=0)
    expected = gradients(learner, tasks)
    for every in (1, 3, 20):
        learner.differentiation = Unrolled(checkpoint=every)
        torch.testing.assert_close(gradients(learner, tasks), expected, rtol=1e-12, atol=1e-12)


def test_sama_adapts_to_adam() -> None:
    """The derivative of Adam's step by the gradient, from the moments that torch.optim.Adam ends with."""
    problem, (b1, b2), eps, steps = Problem(), (0.8, 0.95), 1e-3, 12
    learner = Tilted(Adam(LR, (b1, b2), eps), SAMA(), steps)
    theta = learner.adapted.net.weight.detach().clone().requires_grad_(True)
    opt = torch.optim.Adam([theta], LR, (b1, b2), eps)

    def slope() -> Tensor:
        return (problem.H @ theta.T - problem.c - learner.tilt.T).T.detach()

    for _ in range(steps):
        theta.grad = slope()
        opt.step()
    g, m, v = slope(), opt.state[theta]["exp_avg"], opt.state[theta]["exp_avg_sq"]
    one, two = 1 - b1 ** (steps + 1), 1 - b2 ** (steps + 1)
    m, v = (b1 * m + (1 - b1) * g) / one, (b2 * v + (1 - b2) * g * g) / two
    bottom = v.sqrt() + eps
    step = (1 - b1) / one / bottom - m / bottom.square() * (1 - b2) / two * g / v.sqrt()
    found = gradients(learner, problem.batch)
    exactly(found["tilt"], LR * step * problem.outer(theta.detach().T).T)
    # Of its start Adam knows as little as gradient descent.
    assert float(found.get("adapted.net.weight", torch.zeros(1)).abs().max()) == 0


class Weighing(nn.Module, InnerLoss):
    """Weighs the loss of each row by a net of it, whose parameters are the part's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1), nn.Softplus())

    def value(self, learner: GradientLearner, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        losses = F.cross_entropy(learner.answers(theta, rows), rows.labels, reduction="none")
        weighed = losses * self.weights(losses.unsqueeze(1)).squeeze(1)
        return weighed.mean() if rows.mask is None else (weighed * rows.mask).sum() / rows.mask.sum()


def weighed(differentiation: Differentiation, batch: int | None = None) -> GradientLearner:
    """MAML with a proximal term and a learned inner loss, put together from parts."""
    rule = ProximalSGD(0.2, 1.0)
    return GradientLearner(AllParameters(mlp(WAYS)), rule, differentiation, 3, batch=batch, loss=Weighing())


LEARNERS = {
    "learned-loss": lambda: weighed(Unrolled()),
    "mini-batches": lambda: weighed(Unrolled(), batch=4),
    "head": lambda: GradientLearner(HeadParameters(mlp(WAYS)), SGD(0.2), Unrolled(), 3),
    "CAVIA": lambda: CLASSIFICATION["CAVIA"](mlp, WAYS),
    "IMAML": lambda: CLASSIFICATION["IMAML"](mlp, WAYS),
}
FIXED = {"cg": CG, "neumann": Implicit("neumann", 2), "identity": Implicit("neumann", 0), "SAMA": SAMA(1e-3)}


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("how", FIXED)
def test_batched_is_looped(name: str, how: str) -> None:
    learner = LEARNERS[name]().double()
    learner.differentiation = FIXED[how]
    tasks = batching.to_dtype(batching.stack(_variants(masked_task(), 3)), torch.float64)
    found = gradients(learner, tasks)
    assert any(float(value.abs().max()) > 1e-6 for value in found.values())
    learner.zero_grad()
    for i in range(3):
        (query_loss(learner, batching.select(tasks, i), keys(3)[i]) / 3).backward()
    torch.testing.assert_close(found, {n: p.grad for n, p in learner.named_parameters() if p.grad is not None})


@pytest.mark.parametrize("how", ["neumann", "SAMA"])
def test_recorded(how: str) -> None:
    learner = LEARNERS["mini-batches"]().double()
    learner.differentiation = FIXED[how]
    learner.steps = 1
    tasks = batching.to_dtype(batching.stack(_variants(masked_task(), 2)), torch.float64)
    losses = MetaLoss(learner, query_loss, compile="record")
    losses.backward(tasks, keys(2))
    assert losses.compile
    found = [p.grad for p in learner.parameters()]
    assert any(float(value.abs().max()) > 1e-6 for value in found)
    expected = gradients(learner, tasks)
    torch.testing.assert_close(found, list(expected.values()))


@pytest.mark.parametrize("name", LEARNERS)
def test_sama_is_the_identity_without_second_derivatives(name: str) -> None:
    """Central differences against autograd's mixed second derivative, on nets."""
    learner = LEARNERS[name]().double()
    tasks = batching.to_dtype(batching.stack(_variants(classification_task(), 3)), torch.float64)
    learner.differentiation = Implicit("neumann", 0)
    expected = gradients(learner, tasks)
    learner.differentiation = SAMA(1e-4)
    found = gradients(learner, tasks)
    for parameter, value in expected.items():
        torch.testing.assert_close(found[parameter], value, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("differentiation", [CG, Implicit("neumann", 2), SAMA()], ids=str)
def test_batch_norm(differentiation: Differentiation) -> None:
    """Statistics are those of the end, and so take part in the outer gradient."""
    learner = CLASSIFICATION["IMAML"](conv4, WAYS, batch_norm="support")
    learner.differentiation = differentiation  # type: ignore[assignment]
    tasks = batching.stack(_variants(classification_task(shape=(1, 16, 16)), 2))
    found = gradients(learner.double(), batching.to_dtype(tasks, torch.float64))
    assert {n for n, _ in learner.named_parameters()} == set(found)
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def nodes(learner: GradientLearner, task: Task) -> int:
    """Return the size of what autograd has recorded."""
    waiting = [value.grad_fn for value in learner.adapt(task.support).theta.values()]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            try:
                waiting += [following for following, _ in node.next_functions]
            except RuntimeError as error:
                if "legacy access pattern" not in str(error):
                    raise
                pytest.skip("this PyTorch does not show what an autograd.Function inside a transform leads to")
    return len(seen)


@pytest.mark.parametrize("how", FIXED)
@pytest.mark.parametrize("rule", [ProximalSGD(0.1, 1.0), Adam(0.1)], ids=["proximal", "Adam"])
def test_no_step_is_stored(how: str, rule: Rule) -> None:
    if how == "cg" and isinstance(rule, Adam):
        return
    learner, problem = Tilted(rule, FIXED[how], 2), Problem()
    few = nodes(learner, problem.task)
    learner.steps = 40
    assert nodes(learner, problem.task) == few
    learner.differentiation = Unrolled(0)
    assert nodes(learner, problem.task) > 10 * few


def test_values_do_not_depend_on_differentiation() -> None:
    learner, task = weighed(Unrolled()).double(), batching.to_dtype(classification_task(), torch.float64)
    expected = learner.adapt(task.support).theta
    for differentiation in (FirstOrder(), *FIXED.values()):
        learner.differentiation = differentiation
        assert all(torch.equal(value, expected[name]) for name, value in learner.adapt(task.support).theta.items())
        with torch.no_grad():
            assert all(torch.equal(v, expected[name]) for name, v in learner.adapt(task.support).theta.items())


@pytest.mark.parametrize("how", FIXED)
def test_a_start_that_is_forgotten_is_refused(how: str) -> None:
    learner, task = MAML(mlp(WAYS), lr=0.1, steps=2), batching.to_dtype(classification_task(), torch.float64)
    learner.differentiation = FIXED[how]
    with pytest.raises(InputError, match=r"gradient descent forgets its start.*ProximalSGD"):
        learner.adapt(task.support)
    with pytest.raises(InputError, match="forgets its start"):
        gradients(learner, batching.stack([task, task]))
    with torch.no_grad():
        learner.adapt(task.support)
    # Nothing is learned, so nothing is lost.
    fixed = GradientLearner(bilevel.Vector(torch.ones(SIZE)), SGD(0.1), FIXED[how], 3)
    fixed.adapt(Problem().task.support)


def test_wrong_arguments() -> None:
    for build, message in (
        (lambda: Implicit("gmres"), "unknown solver"),
        (lambda: Implicit("cg", 0), "steps must be 1 or more"),
        (lambda: Implicit("neumann", -1), "steps must be 0 or more"),
        (lambda: Implicit("cg", damping=-1.0), "damping must be 0 or more"),
        (lambda: Implicit("cg", damping=math.nan), "damping must be finite, not nan"),
        (lambda: Implicit("neumann", damping=1.0), "other than 'cg'"),
        (lambda: SAMA(0), "alpha must be positive"),
        (lambda: SAMA(math.nan), "alpha must be finite, not nan"),
    ):
        with pytest.raises(InputError, match=message):
            build()
    learner = MetaSGD(mlp(WAYS), lr=0.1)
    learner.differentiation = Implicit()
    with pytest.raises(InputError, match="conjugate gradient needs"):
        learner.adapt(batching.to_dtype(classification_task(), torch.float64).support)
    assert IMAML(mlp(WAYS), cg_steps=3).differentiation == Implicit("cg", 3)


def test_learned_rate_has_the_closed_forms_gradient() -> None:
    """What the outer optimisers are measured against, through the whole library."""
    learner, tasks = bilevel.learner(steps=6), bilevel.Parabolas(seed=1).draw(torch.arange(4))
    losses = MetaLoss(learner, query_loss).backward(tasks, keys(4))
    exactly(losses, bilevel.value(tasks, 0.05, 6))
    exactly(learner.rule.log_lr.grad, bilevel.hyper_gradient(tasks, 0.05, 6).mean())


@pytest.mark.parametrize("length", [1, 2, 3])
def test_truncation_is_biased(length: int) -> None:
    """Segments whose start is a constant, one after the other, by torch.autograd: the closed form of the truncated."""
    steps, weights = 6, torch.rand(6)
    task = batching.select(bilevel.Parabolas(seed=1).draw(torch.arange(1)), 0)
    learner = bilevel.learner(steps)
    state = learner.start(task.support)
    found = []
    for first in range(0, steps, length):
        state = state._replace(theta={name: value.detach() for name, value in state.theta.items()})
        total = torch.zeros(())
        for step in range(first, first + length):
            state = learner.step(state, task.support)
            total = total + weights[step] * learner.loss(learner.finish(state, task.support), task.query)
        found.append(torch.autograd.grad(total, learner.rule.log_lr)[0])
    expected = bilevel.truncated_gradients(task, 0.05, steps, length, weights)
    exactly(torch.stack(found), expected)
    whole = bilevel.hyper_gradient(task, 0.05, steps, weights)
    assert abs(float(expected.sum() / whole) - 1) > 0.2
    exactly(bilevel.truncated_gradients(task, 0.05, steps, steps, weights).sum(), whole)
