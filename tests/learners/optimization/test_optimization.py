"""Optimisation learners against the package `higher`, plain torch.autograd loops, torch.optim and closed forms."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Examples, Task, batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import Unrolled, conjugate_gradient
from quickstudy.learners import (
    ADML,
    ANIL,
    CAVIA,
    FOMAML,
    IMAML,
    MAML,
    GradientLearner,
    MetaSGD,
    ProtoMAML,
    Reptile,
)
from quickstudy.rules import SGD, Adam, LearnedRates, ProximalSGD

pytestmark = pytest.mark.usefixtures("float64")

LR, STEPS = 0.1, 3
KEY = random.key(4)
Loss = Callable[[Tensor, Tensor], Tensor]


class Smooth(nn.Module):
    """A small net without kinks."""

    def __init__(self, inputs: int = 4, outputs: int | None = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
        self.head = nn.Linear(5, outputs) if outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def classification() -> Task:
    return Task(Examples(torch.randn(9, 4), torch.arange(9) % 3), Examples(torch.randn(6, 4), torch.arange(6) % 3))


def regression() -> Task:
    return Task(Examples(torch.randn(8, 4), torch.randn(8, 3)), Examples(torch.randn(5, 4), torch.randn(5, 3)))


def loss_of(task: Task) -> Loss:
    return F.cross_entropy if task.support.ways else F.mse_loss


def meta_gradient(learner: qs.Learner, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and gradient through the library."""
    learner.zero_grad()
    loss = learner.loss(learner.learn(task.support, KEY), task.query)
    loss.backward()
    return loss.detach(), {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in learner.named_parameters()}


def same(learner: qs.Learner, found: dict[str, Tensor], net: nn.Module, prefix: str = "adapted.net.") -> None:
    """Assert that gradients of the learner's net are those in the reference's `.grad`."""
    for name, parameter in net.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[prefix + name], expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("make", [classification, regression])
@pytest.mark.parametrize("first_order", [False, True])
def test_maml_is_highers(make: Callable[[], Task], first_order: bool) -> None:
    with warnings.catch_warnings():
        # Of higher itself, which is older than these.
        warnings.simplefilter("ignore", category=DeprecationWarning)
        warnings.simplefilter("ignore", category=SyntaxWarning)
        import higher

    task, net = make(), Smooth()
    learner = (FOMAML if first_order else MAML)(net, lr=LR, steps=STEPS)
    loss, found = meta_gradient(learner, task)
    own, criterion = copy.deepcopy(net), loss_of(task)
    own.zero_grad()
    inner = torch.optim.SGD(own.parameters(), lr=LR)
    options = {"copy_initial_weights": False, "track_higher_grads": not first_order}
    with higher.innerloop_ctx(own, inner, **options) as (fast, opt):
        for _ in range(STEPS):
            opt.step(criterion(fast(task.support.inputs), task.support.labels))
        expected = criterion(fast(task.query.inputs), task.query.labels)
        if first_order:
            # higher cuts the graph altogether then: the gradient is that at the adapted parameters.
            for parameter, grad in zip(own.parameters(), torch.autograd.grad(expected, fast.parameters()), strict=True):
                parameter.grad = grad
        else:
            expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)


def test_meta_sgd_is_highers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=DeprecationWarning)
        warnings.simplefilter("ignore", category=SyntaxWarning)
        import higher

    task, net = classification(), Smooth()
    learner = MetaSGD(net, lr=LR, steps=2)
    loss, found = meta_gradient(learner, task)
    own = copy.deepcopy(net)
    own.zero_grad()
    rates = {n: learner.rule.alpha[n.replace(".", "/")].detach().clone() for n, _ in net.named_parameters()}
    for rate in rates.values():
        assert bool(((rate >= LR / 2) & (rate <= 3 * LR / 2)).all())
        rate.requires_grad_(True)
    inner = torch.optim.SGD(own.parameters(), lr=1.0)
    with higher.innerloop_ctx(own, inner, copy_initial_weights=False) as (fast, opt):
        for _ in range(2):
            inner_loss = F.cross_entropy(fast(task.support.inputs), task.support.labels)
            # One rate per number: as a callback on the gradients.
            opt.step(inner_loss, grad_callback=lambda gs: [g * r for g, r in zip(gs, rates.values(), strict=True)])
        expected = F.cross_entropy(fast(task.query.inputs), task.query.labels)
        expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)
    for name, rate in rates.items():
        torch.testing.assert_close(found["rule.alpha." + name.replace(".", "/")], rate.grad, rtol=1e-6, atol=1e-10)


def plain_sgd(
    forward: Callable[[list[Tensor], Tensor], Tensor], start: list[Tensor], task: Task, lr: float, graph: bool = True
) -> list[Tensor]:
    """Return parameters after STEPS steps, by torch.autograd alone."""
    theta = start
    for _ in range(STEPS):
        loss = loss_of(task)(forward(theta, task.support.inputs), task.support.labels)
        slopes = torch.autograd.grad(loss, theta, create_graph=graph)
        theta = [value - lr * slope for value, slope in zip(theta, slopes, strict=True)]
    return theta


@pytest.mark.parametrize("make", [classification, regression])
def test_fomaml_by_plain_loop(make: Callable[[], Task]) -> None:
    task, net = make(), Smooth()
    learner = FOMAML(net, lr=LR, steps=STEPS)
    loss, found = meta_gradient(learner, task)
    own = copy.deepcopy(net)
    own.zero_grad()
    names = [name for name, _ in own.named_parameters()]

    def forward(theta: list[Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(own, dict(zip(names, theta, strict=True)), (x,))  # type: ignore[no-any-return]

    theta = plain_sgd(forward, list(own.parameters()), task, LR, graph=False)
    expected = loss_of(task)(forward(theta, task.query.inputs), task.query.labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)


@pytest.mark.parametrize("make", [classification, regression])
def test_anil_by_plain_loop(make: Callable[[], Task]) -> None:
    task, net = make(), Smooth()
    learner = ANIL(net, lr=LR, steps=STEPS)
    loss, found = meta_gradient(learner, task)
    own = copy.deepcopy(net)
    own.zero_grad()

    def forward(theta: list[Tensor], x: Tensor) -> Tensor:
        return F.linear(own.body(x), *theta)

    theta = plain_sgd(forward, list(own.head.parameters()), task, LR)
    expected = loss_of(task)(forward(theta, task.query.inputs), task.query.labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)


def test_anil_head_by_name() -> None:
    net = Smooth()
    assert set(ANIL(net, head="body.2").adapt(classification().support).theta) == {"body.2.weight", "body.2.bias"}
    assert set(ANIL(nn.Linear(4, 3)).adapt(classification().support).theta) == {"weight", "bias"}
    with pytest.raises(InputError, match=r"head='tail'; layers with parameters: \['body\.0', 'body\.2', 'head'\]"):
        ANIL(net, head="tail").adapt(classification().support)
    with pytest.raises(InputError, match="no head to adapt"):
        ANIL(nn.ReLU())


@pytest.mark.parametrize("make", [classification, regression])
def test_cavia_by_plain_loop(make: Callable[[], Task]) -> None:
    task, net = make(), qs.nets.mlp(4, (6,), 3, context=2)
    learner = CAVIA(net, lr=0.7, steps=STEPS)
    loss, found = meta_gradient(learner, task)
    own = copy.deepcopy(net)
    own.zero_grad()

    def forward(theta: list[Tensor], x: Tensor) -> Tensor:
        return own.head(own.body(torch.cat([x, theta[0].expand(len(x), 2)], 1)))  # type: ignore[no-any-return]

    theta = plain_sgd(forward, [torch.zeros(2, requires_grad=True)], task, 0.7)
    expected = loss_of(task)(forward(theta, task.query.inputs), task.query.labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)
    with pytest.raises(InputError, match="takes no context"):
        CAVIA(Smooth())


@pytest.mark.parametrize("first_order", [False, True])
def test_proto_maml_by_plain_loop(first_order: bool) -> None:
    task, net = classification(), Smooth(outputs=None)
    learner = ProtoMAML(net, lr=LR, steps=STEPS, first_order=first_order)
    loss, found = meta_gradient(learner, task)
    own = copy.deepcopy(net)
    own.zero_grad()
    names = [name for name, _ in own.named_parameters()]

    def forward(theta: list[Tensor], x: Tensor) -> Tensor:
        features = torch.func.functional_call(own, dict(zip(names, theta[:-2], strict=True)), (x,))
        return F.linear(features, theta[-2], theta[-1])

    features = own(task.support.inputs)
    means = torch.stack([features[task.support.labels == k].mean(0) for k in range(3)])
    start = [*own.parameters(), 2 * means, -means.square().sum(1)]
    theta = start
    for _ in range(STEPS):
        # Views, so that the inner gradient of the body does not run through the head's start.
        theta = [value.view_as(value) for value in theta]
        inner = F.cross_entropy(forward(theta, task.support.inputs), task.support.labels)
        slopes = torch.autograd.grad(inner, theta, create_graph=True)
        slopes = [slope.detach() if first_order else slope for slope in slopes]
        theta = [value - LR * slope for value, slope in zip(theta, slopes, strict=True)]
    expected = F.cross_entropy(forward(theta, task.query.inputs), task.query.labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)


def test_proto_maml_without_steps_is_a_prototypical_net() -> None:
    task, net = classification(), Smooth(outputs=None)
    proto, maml = qs.learners.ProtoNet(net), ProtoMAML(net, steps=0)
    a = proto.predict(proto.adapt(task.support), task.query.inputs)
    b = maml.predict(maml.adapt(task.support), task.query.inputs)
    torch.testing.assert_close(a.softmax(1), b.softmax(1))


@pytest.mark.parametrize("make", [classification, regression])
def test_adml_by_plain_loop(make: Callable[[], Task]) -> None:
    task, net, epsilon = make(), Smooth(), 0.2
    learner = ADML(net, lr=LR, steps=STEPS, epsilon=epsilon)
    loss, found = meta_gradient(learner, task)
    own, criterion = copy.deepcopy(net), loss_of(task)
    own.zero_grad()
    names = [name for name, _ in own.named_parameters()]

    def forward(theta: list[Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(own, dict(zip(names, theta, strict=True)), (x,))  # type: ignore[no-any-return]

    def perturbed(rows: Examples) -> Tensor:
        x = rows.inputs.clone().requires_grad_(True)
        slope = torch.autograd.grad(criterion(own(x), rows.labels), x)[0]
        return (x + epsilon * slope.sign()).detach()

    adversarial = Task(Examples(perturbed(task.support), task.support.labels), task.query)
    start = list(own.parameters())
    clean_arm, adversarial_arm = plain_sgd(forward, start, task, LR), plain_sgd(forward, start, adversarial, LR)
    expected = 0.5 * criterion(forward(adversarial_arm, task.query.inputs), task.query.labels)
    expected = expected + 0.5 * criterion(forward(clean_arm, perturbed(task.query)), task.query.labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    same(learner, found, own)
    state = learner.adapt(task.support)
    torch.testing.assert_close(learner.predict(state, task.query.inputs), forward(clean_arm, task.query.inputs))
    with pytest.raises(InputError, match="pytree"):
        learner.adapt(Examples((task.support.inputs,), task.support.labels))
    with pytest.raises(InputError, match="epsilon must be 0 or more"):
        ADML(net, epsilon=-1)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [None, 4])
def test_reptile_inner_loop_is_torch_optim(optimizer: str, batch: int | None) -> None:
    task, net = classification(), Smooth()
    learner = Reptile(net, lr=0.05, steps=6, batch=batch, test_steps=None, optimizer=optimizer)
    found = learner.learn(task.support, KEY).theta
    own = copy.deepcopy(net)
    options = {"betas": (0.0, 0.999)} if optimizer == "adam" else {}
    opt = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](own.parameters(), lr=0.05, **options)
    order = random.permutation(KEY, 9).tolist() * 10
    for step in range(6):
        rows = list(range(9)) if batch is None else order[step * batch : (step + 1) * batch]
        opt.zero_grad()
        F.cross_entropy(own(task.support.inputs[rows]), task.support.labels[rows]).backward()
        opt.step()
    for name, value in own.named_parameters():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_reptile_outer_rule_by_plain_loop(optimizer: str) -> None:
    """Batches of tasks, momentum and all: against torch.optim in both loops."""
    net = Smooth()
    learner = Reptile(net, lr=0.05, steps=4, batch=None, test_steps=None, optimizer=optimizer)
    outer = qs.outer.Reptile(lr=0.6)
    tasks = [classification() for _ in range(5)]
    own = copy.deepcopy(net)
    options = {"betas": (0.0, 0.999)} if optimizer == "adam" else {}
    moved = []
    for task in tasks:
        fast = copy.deepcopy(own)
        opt = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](fast.parameters(), lr=0.05, **options)
        for _ in range(4):
            opt.zero_grad()
            F.cross_entropy(fast(task.support.inputs), task.support.labels).backward()
            opt.step()
        moved.append(dict(fast.named_parameters()))
    expected = {
        name: value + 0.6 * (torch.stack([each[name] for each in moved]).mean(0) - value)
        for name, value in own.named_parameters()
    }
    keys = random.fold_in(random.key(0), torch.arange(5))
    step = outer.optimizer(learner.named_parameters())
    losses = outer.estimate(MetaLoss(learner, qs.objectives.query_loss, 2), batching.stack(tasks), keys)
    step.step()
    assert losses.shape == (5,)
    for name, value in net.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9)


def linear_task() -> tuple[Task, Tensor, Tensor, Tensor, Tensor]:
    """Return a least-squares task and its matrices: support A, y and query B, z."""
    A, y, B, z = torch.randn(7, 4), torch.randn(7, 1), torch.randn(5, 4), torch.randn(5, 1)
    return Task(Examples(A, y), Examples(B, z)), A, y, B, z


def test_maml_on_a_quadratic_in_closed_form() -> None:
    """theta_k = theta* + (I - lr H)^k (theta_0 - theta*); its derivative is (I - lr H)^k."""
    task, A, y, B, z = linear_task()
    net = nn.Linear(4, 1, bias=False)
    _, found = meta_gradient(MAML(net, lr=LR, steps=STEPS), task)
    H = 2 / 7 * A.T @ A
    best = torch.linalg.solve(H, 2 / 7 * A.T @ y)
    power = torch.linalg.matrix_power(torch.eye(4) - LR * H, STEPS)
    theta = best + power @ (net.weight.T - best)
    expected = power @ (2 / 5 * B.T @ (B @ theta - z))
    torch.testing.assert_close(found["adapted.net.weight"].T, expected.detach())


def test_imaml_on_a_quadratic_in_closed_form() -> None:
    """With many inner steps: (I + H / strength)^-1 g at the regularised minimum."""
    task, A, y, B, z = linear_task()
    net, strength = nn.Linear(4, 1, bias=False), 2.0
    learner = IMAML(net, lr=0.1, steps=400, strength=strength, cg_steps=8)
    loss, found = meta_gradient(learner, task)
    H = 2 / 7 * A.T @ A
    eye = torch.eye(4)
    theta = torch.linalg.solve(H + strength * eye, 2 / 7 * A.T @ y + strength * net.weight.T)
    torch.testing.assert_close(learner.adapt(task.support).theta["weight"].T, theta.detach())
    torch.testing.assert_close(loss, F.mse_loss(B @ theta, z).detach())
    expected = torch.linalg.solve(eye + H / strength, 2 / 5 * B.T @ (B @ theta - z))
    torch.testing.assert_close(found["adapted.net.weight"].T, expected.detach(), rtol=1e-7, atol=1e-9)
    # The same by unrolling to convergence, which is what the implicit gradient saves.
    unrolled = GradientLearner(AllParameters(net), ProximalSGD(0.1, strength), Unrolled(), 400)
    _, through = meta_gradient(unrolled, task)
    torch.testing.assert_close(found["adapted.net.weight"], through["adapted.net.weight"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("damping", [0.5, 10.0])
def test_imaml_damped_solves_for_a_smaller_hessian(damping: float) -> None:
    """lambda / (lambda + delta) (I + H / (lambda + delta))^-1 g, delta being the damping."""
    task, A, y, B, z = linear_task()
    net, strength = nn.Linear(4, 1, bias=False), 2.0
    learner = IMAML(net, lr=0.1, steps=400, strength=strength, cg_steps=8, damping=damping)
    _, found = meta_gradient(learner, task)
    H, eye = 2 / 7 * A.T @ A, torch.eye(4)
    theta = torch.linalg.solve(H + strength * eye, 2 / 7 * A.T @ y + strength * net.weight.T)
    solved = torch.linalg.solve(eye + H / (strength + damping), 2 / 5 * B.T @ (B @ theta - z))
    expected = strength / (strength + damping) * solved
    torch.testing.assert_close(found["adapted.net.weight"].T, expected.detach(), rtol=1e-7, atol=1e-9)


def test_imaml_converges_to_the_unrolled_gradient_of_a_net() -> None:
    task, net = classification(), Smooth()
    implicit = IMAML(net, lr=0.3, steps=300, strength=1.0, cg_steps=40)
    _, found = meta_gradient(implicit, task)
    _, through = meta_gradient(GradientLearner(AllParameters(net), ProximalSGD(0.3, 1.0), Unrolled(), 300), task)
    for name, value in through.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_conjugate_gradient_is_linalg_solve(size: int) -> None:
    root = torch.randn(size, size)
    matrix, b = root @ root.T + torch.eye(size), torch.randn(size)

    def matvec(v: dict[str, Tensor]) -> dict[str, Tensor]:
        joined = matrix @ torch.cat([v["a"], v["b"]])
        return {"a": joined[: size // 2], "b": joined[size // 2 :]}

    parts = {"a": b[: size // 2], "b": b[size // 2 :]}
    found = conjugate_gradient(matvec, parts, size + 3)
    torch.testing.assert_close(torch.cat([found["a"], found["b"]]), torch.linalg.solve(matrix, b), rtol=1e-6, atol=1e-8)
    zero = {name: torch.zeros_like(value) for name, value in parts.items()}
    assert all(bool((value == 0).all()) for value in conjugate_gradient(matvec, zero, 3).values())


@pytest.mark.parametrize(
    "learner",
    [
        MAML(Smooth().double(), lr=LR, steps=STEPS),
        IMAML(Smooth().double(), steps=STEPS),
        ADML(Smooth().double(), steps=STEPS),
        Reptile(Smooth().double(), steps=STEPS, batch=4),
        ProtoMAML(Smooth(outputs=None).double(), steps=STEPS),
    ],
    ids=lambda learner: type(learner).__name__,
)
def test_inner_loop_is_resumable(learner: GradientLearner) -> None:
    task = classification()
    state = learner.start(task.support, KEY)
    for _ in range(learner.inner_steps):
        state = learner.step(state, task.support)
    state = learner.finish(state, task.support)
    expected = learner.predict(learner.adapt(task.support, KEY), task.query.inputs)
    assert torch.equal(learner.predict(state, task.query.inputs), expected)


def test_steps_of_training_and_evaluation_differ() -> None:
    learner = MAML(Smooth(), steps=1, test_steps=4)
    assert learner.train().inner_steps == 1
    assert learner.eval().inner_steps == 4
    assert int(learner.adapt(classification().support).step) == 4
    assert MAML(Smooth(), steps=2).eval().inner_steps == 2


def test_frozen_parameters_are_shared_and_stay() -> None:
    net = Smooth()
    net.body[0].requires_grad_(False)
    for learner in (MAML(net, lr=LR), MetaSGD(net, lr=LR), IMAML(net, lr=LR)):
        task = batching.stack([classification() for _ in range(3)])
        states = batching.adapt(learner, task.support)
        assert set(states.theta) == {n for n, p in net.named_parameters() if p.requires_grad}
        losses = MetaLoss(learner, qs.objectives.query_loss)
        losses.backward(task, torch.zeros(3).long())
        assert net.body[0].weight.grad is None
        assert net.head.weight.grad is not None
        learner.zero_grad()
    with pytest.raises(InputError, match="unfreeze some"):
        MAML(net.requires_grad_(False)).adapt(classification().support)


def test_unused_parameters_do_no_harm() -> None:
    net = Smooth()
    net.unused = nn.Linear(2, 2)
    learner = MAML(net, lr=LR, steps=2)
    task = batching.stack([classification() for _ in range(3)])
    MetaLoss(learner, qs.objectives.query_loss).backward(task, torch.zeros(3).long())
    outer = qs.outer.Gradient().optimizer(learner.named_parameters())
    before = net.unused.weight.detach().clone()
    outer.step()
    assert torch.equal(net.unused.weight, before)


def test_classes_absent_from_a_mini_batch_still_compete() -> None:
    """A step on rows of one class only must push the other classes down, as without this library."""
    support = Examples(torch.randn(6, 4), [0, 0, 0, 1, 1, 1])
    net = Smooth(outputs=2)
    learner = Reptile(net, lr=0.1, steps=1, batch=1, test_steps=None, optimizer="sgd")
    theta = learner.learn(support, KEY).theta
    row = int(random.permutation(KEY, 6)[0])
    loss = F.cross_entropy(net(support.inputs[row : row + 1]), support.labels[row : row + 1])
    slope = torch.autograd.grad(loss, net.head.weight)[0]
    assert float(slope.abs().max()) > 1e-3
    torch.testing.assert_close(theta["head.weight"], net.head.weight - 0.1 * slope)


def test_mini_batches_pass_over_all_rows_and_never_padding() -> None:
    mask = torch.tensor([True, False, True, True, True, False, True])
    support = Examples(torch.arange(7.0).reshape(7, 1), torch.zeros(7, dtype=torch.long), mask, 2)
    learner = Reptile(nn.Linear(1, 2), batch=2)
    state = learner.start(support, KEY)
    seen = []
    for _ in range(5):
        rows = learner.rows.take(learner, state, support)
        seen += rows.inputs.flatten().tolist()
        state = learner.step(state, support)
    assert sorted(seen) == sorted([0.0, 2.0, 3.0, 4.0, 6.0] * 2)


def test_net_with_more_outputs_than_ways_uses_the_first() -> None:
    task, net = classification(), Smooth(outputs=5)
    learner = MAML(net, lr=LR)
    state = learner.adapt(task.support)
    assert learner.predict(state, task.query.inputs).shape == (6, 3)
    assert torch.equal(state.theta["head.bias"][3:], net.head.bias[3:])
    with pytest.raises(InputError, match=r"outputs=3 .*--ways 3.*, or use ProtoMAML"):
        MAML(Smooth(outputs=2)).adapt(task.support)
    with pytest.raises(InputError, match="as many outputs"):
        MAML(Smooth(outputs=2)).adapt(regression().support)


def test_adam_rule_is_torch_optim() -> None:
    theta = {"a": torch.randn(3), "b": torch.randn(2, 2)}
    own = [value.clone().requires_grad_(True) for value in theta.values()]
    rule, opt = Adam(0.1, (0.8, 0.9), 1e-6), torch.optim.Adam(own, 0.1, (0.8, 0.9), 1e-6)
    state = rule.start(theta)
    for _ in range(5):
        grads = {name: torch.randn_like(value) for name, value in theta.items()}
        theta, state = rule.update(grads, state, theta)
        for value, grad in zip(own, grads.values(), strict=True):
            value.grad = grad
        opt.step()
    for value, found in zip(own, theta.values(), strict=True):
        torch.testing.assert_close(found, value.detach())


def test_adam_rule_in_half_precision() -> None:
    """1 - beta2^t must not round to zero."""
    theta = {"a": torch.ones(3, dtype=torch.bfloat16)}
    rule, grads = Adam(0.25, (0.0, 0.999)), {"a": torch.tensor([1.0, -2.0, 0.0], dtype=torch.bfloat16)}
    moved, state = rule.update(grads, rule.start(theta), theta)
    assert moved["a"].dtype == torch.bfloat16
    torch.testing.assert_close(moved["a"].double(), torch.tensor([0.75, 1.25, 1.0]), atol=0.01, rtol=0)
    for _ in range(300):
        moved, state = rule.update(grads, state, moved)
    assert float(state[2]) == 301


def test_adam_rule_has_finite_derivatives_at_zero_gradient() -> None:
    start = torch.zeros(2, requires_grad=True)
    rule = Adam(0.1)
    theta, _ = rule.update({"a": start * 0}, rule.start({"a": start}), {"a": start})
    theta["a"].sum().backward()
    assert bool(torch.isfinite(start.grad).all())


def test_wrong_arguments() -> None:
    net = Smooth()
    for build, message in (
        (lambda: MAML(net, lr=0), "lr must be positive"),
        (lambda: MAML(net, steps=-1), "steps must be 0 or more"),
        (lambda: MAML(net, test_steps=-1), "test_steps must be 0 or more"),
        (lambda: MAML(net, batch_norm="none"), "unknown batch norm policy"),
        (lambda: IMAML(net, strength=0), "strength must be positive"),
        (lambda: Reptile(net, optimizer="rmsprop"), "unknown optimizer"),
        (lambda: LearnedRates({}, -1), "lr must be positive"),
        (lambda: SGD(float("nan")), "lr must be finite"),
        (
            lambda: ProtoMAML(nn.Conv2d(1, 2, 3)).adapt(Examples(torch.zeros(2, 1, 5, 5), [0, 1])),
            "must return features",
        ),
    ):
        with pytest.raises(InputError, match=message):
            build()
