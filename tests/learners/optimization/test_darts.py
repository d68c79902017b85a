"""DARTS: the gradient of alpha, what a discrete architecture is, and that it finds the operation that is needed."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import quickstudy as qs
from quickstudy import Examples
from quickstudy.core import prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.learners import DARTS, L2O
from quickstudy.nets import CellNet, conv_cells, dense_cells
from quickstudy.nets.mixed_cells import Zero
from quickstudy.problem import Optimizee, Problem

KEY = random.key(5)
XI = 0.3


def rows(count: int, seed: int, features: int = 3) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, features, generator=generator, dtype=torch.float64)
    return Examples(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long(), ways=2)


def smooth() -> CellNet:
    """Return a net of two cells of three edges without a kink."""
    operations = {"skip": nn.Identity, "tanh": lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh())}
    return CellNet(nn.Linear(3, 3), operations, nn.Linear(3, 2), cells=2)


def learner(**options) -> DARTS:
    options = {"net": smooth(), "rule": qs.rules.SGD(XI), "steps": 1} | options
    made = DARTS(**options).double()
    made.adapted.alpha.data = random.normal(random.key(9), *made.adapted.alpha.shape, dtype=torch.float64)
    return made


def equations(made: DARTS, support: Examples, query: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of alpha of first order, and that of equations 7 and 8, by plain autograd and a loop."""
    net, alpha = made.adapted.net, made.adapted.alpha.detach().clone().requires_grad_()

    def gradients(w: dict, part: Examples) -> tuple[dict, torch.Tensor]:
        w = {name: value.detach().clone().requires_grad_() for name, value in w.items()}
        outputs = functional_call(net, w, (part.inputs, alpha.softmax(-1)))
        found = torch.autograd.grad(prediction_loss(outputs, part), [*w.values(), alpha])
        return dict(zip(w, found, strict=False)), found[-1]

    w = made.start(support, KEY).theta
    descent, _ = gradients(w, support)
    virtual = {name: value - XI * descent[name] for name, value in w.items()}
    pull, first = gradients(virtual, query)
    epsilon = 1e-4 / torch.sqrt(sum(value.square().sum() for value in pull.values()))
    sides = [
        gradients({name: value + side * epsilon * pull[name] for name, value in w.items()}, support)[1]
        for side in (1, -1)
    ]
    return first, first - XI * (sides[0] - sides[1]) / (2 * epsilon)


@pytest.mark.parametrize("order", [1, 2])
def test_the_gradient_of_alpha_is_that_of_the_papers_equations(order):
    support, query = rows(12, 0), rows(9, 1)
    made = learner(differentiation=FirstOrder() if order == 1 else Unrolled())
    made.loss(made.adapt(support, KEY), query).backward()
    expected = equations(made, support, query)
    assert torch.allclose(made.adapted.alpha.grad, expected[order - 1], rtol=1e-6, atol=1e-10)
    assert not torch.allclose(expected[0], expected[1], rtol=1e-2)
    assert [name for name, value in made.named_parameters() if value.requires_grad] == ["adapted.alpha"]


def test_the_gradient_through_mini_batches_is_the_slope():
    support, query = rows(12, 0), rows(9, 1)
    made = learner(steps=4, batch=5, rule=qs.rules.Adam(0.05))

    def loss() -> torch.Tensor:
        return made.loss(made.adapt(support, KEY), query)

    loss().backward()
    alpha = made.adapted.alpha
    way = random.normal(random.key(1), *alpha.shape, dtype=torch.float64)
    at, slope = alpha.detach().clone(), float((alpha.grad * way).sum())
    with torch.no_grad():
        ends = [alpha.copy_(at + step * way) is not None and float(loss()) for step in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-5)


def test_the_query_too_is_taken_in_mini_batches_in_training():
    query = rows(9, 1)
    made = learner(batch=4)
    state = made.start(rows(12, 0), KEY)._replace(step=torch.tensor(2))
    picked = torch.tensor([8, 0, 1, 2])
    answers = made.predict(state, query.inputs)
    expected = nn.functional.cross_entropy(answers[picked], query.labels[picked])
    assert torch.allclose(made.loss(state, query), expected)
    assert torch.allclose(made.eval().loss(state, query), nn.functional.cross_entropy(answers, query.labels))
    padded = Examples(query.inputs, query.labels, torch.arange(9) > 4, ways=2)
    picked = torch.tensor([5, 6, 7, 8])
    expected = nn.functional.cross_entropy(answers[picked], query.labels[picked])
    assert torch.allclose(made.train().loss(state, padded), expected)


@pytest.mark.parametrize("architecture", [(4, 0, 2), (1, 3, 4), (0, 0, 0)])
def test_a_one_hot_mixture_trains_as_the_discrete_net_does(architecture):
    net = conv_cells(1, 2, 3, size=4).double()
    made = DARTS(net, qs.rules.SGD(XI), steps=3, batch=4).double()
    # exp(-1000) is 0.
    made.adapted.alpha.data = 1000 * (nn.functional.one_hot(torch.tensor(architecture), 5).double() - 1)
    generator = torch.Generator().manual_seed(3)
    support = Examples(torch.randn(9, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(9) % 3)
    mixed = made.adapt(support, KEY)
    discrete = net.discrete(architecture)
    began = made.start(support, KEY).theta
    start = {}
    for name in discrete.state_dict():
        head, found, tail = name.partition(".operations.0")
        number = architecture[int(head.rpartition(".")[2])] if found else 0
        start[name] = began[f"{head}.operations.{number}{tail}" if found else name]
    problem = Problem(Optimizee(support.inputs, discrete), support.labels, start, ways=3)
    plain = L2O(qs.rules.SGD(XI), 3, 4)
    state = plain.adapt(problem, KEY)
    answers = plain.predict(state, problem.inputs)
    assert torch.allclose(made.predict(mixed, support.inputs), answers, rtol=1e-10, atol=1e-12)
    assert torch.allclose(functional_call(discrete, state.theta, (support.inputs,)), answers)
    if not any(architecture):
        assert torch.allclose(answers, answers[:1])


@pytest.mark.parametrize("passing", [FirstOrder(), Unrolled()], ids=["first", "second"])
def test_the_operation_that_the_data_need_is_found(passing):
    # The sign of a product: no linear map tells it, so the one edge needs a hidden layer.
    operations = {
        "none": Zero,
        "skip": nn.Identity,
        "tanh": lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
    }
    net = CellNet(nn.Linear(2, 8), operations, nn.Linear(8, 2), nodes=2)
    made = DARTS(net, qs.rules.Adam(0.05), steps=60, batch=30, differentiation=passing).double()
    qs.meta_train(
        made,
        qs.tasks.OneTask(rows(90, 0, 2), rows(60, 1, 2)),
        qs.outer.Truncated(length=1, lr=0.1),
        steps=60,
        meta_batch=1,
        progress=False,
        precision="64-true",
    )
    assert made.architecture() == (2,)
    assert made.adapted.alpha.softmax(-1)[0, 2] > 0.5
    assert made.discrete()(torch.zeros(4, 2)).shape == (4, 2)


def test_the_zero_operation_is_no_part_of_an_architecture():
    made = DARTS(dense_cells(nn.Linear(3, 4), 4, 2, nodes=2))
    made.adapted.alpha.data = torch.tensor([[9.0, 1.0, 2.0, 1.0, 1.0]])
    assert made.architecture() == (2,)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="cells mix operations"):
        DARTS(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"3 numbers in 0\.\.4, not \(0, 5, 1\)"):
        conv_cells().discrete((0, 5, 1))
    with pytest.raises(InputError, match="3 numbers"):
        conv_cells().discrete((0, 1))
    with pytest.raises(InputError, match="2 nodes"):
        conv_cells(nodes=1)
    with pytest.raises(InputError, match="size=5 even"):
        conv_cells(size=5)
