"""Exchanged tensors are seen by one thread alone, and a layer under several names is one layer."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.objectives.query_loss import query_loss
from quickstudy.operators.calls import call
from quickstudy.operators.substitution import exchanged, with_parameters

pytestmark = pytest.mark.usefixtures("float64")


class Once(nn.Module):
    """One layer that is called twice under one name: what the other nets of this file must do."""

    features = 3

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.a, self.head = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.a(torch.tanh(self.a(torch.tanh(self.inp(x)))))))  # type: ignore[no-any-return]


class TwoNames(Once):
    def __init__(self) -> None:
        super().__init__()
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.b(torch.tanh(self.a(torch.tanh(self.inp(x)))))))  # type: ignore[no-any-return]


class InAList(Once):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.a, self.a])

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inp(x))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)  # type: ignore[no-any-return]


class DeepInBranches(Once):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Sequential(self.a, nn.Tanh()))
        self.right = nn.ModuleDict({"deep": nn.Sequential(nn.Identity(), self.a), "whole": self.left})

    def forward(self, x: Tensor) -> Tensor:
        x = self.right["whole"](torch.tanh(self.inp(x)))
        return self.head(torch.tanh(self.right["deep"](x)))  # type: ignore[no-any-return]


class TiedParameters(TwoNames):
    """Two layers that share both parameters, one of which stands under two names as well."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(4, 4)
        self.c.weight, self.c.bias = self.a.weight, self.a.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.c(torch.tanh(self.b(torch.tanh(self.inp(x)))))))  # type: ignore[no-any-return]


class Unregistered(Once):
    """Reaches its layer through a list, a closure and a bound method, and its bias as a tensor in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = [self.a]
        layer = self.a
        self.function = lambda x: layer(x)
        self.bound = self.a.forward
        self.held = (self.head.weight, self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        assert self.plain[0] is self.a
        x = torch.tanh(self.bound(torch.tanh(self.function(torch.tanh(self.inp(x))))))
        return nn.functional.linear(x, *self.held)


SHARED = [TwoNames, InAList, DeepInBranches, TiedParameters, Unregistered]
LEARNERS: dict[str, Callable[[nn.Module], Learner]] = {
    "MAML": lambda net: qs.learners.MAML(net, lr=0.5, steps=3),
    "FOMAML": lambda net: qs.learners.FOMAML(net, lr=0.5, steps=3),
    "IMAML": lambda net: qs.learners.IMAML(net, lr=0.3, steps=3),
    "MetaSGD": lambda net: qs.learners.MetaSGD(net, lr=0.5, steps=3),
    "ANIL": lambda net: qs.learners.ANIL(net, head="head", lr=0.5, steps=3),
    "Reptile": lambda net: qs.learners.Reptile(net, lr=0.5, steps=3),
    "FineTune": lambda net: qs.learners.FineTune(net, classes=5, steps=3),
    "ProtoNet": qs.learners.ProtoNet,
}


def task(seed: int) -> qs.Task:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(6) % 3
    rows = [torch.randn(6, 6, generator=generator, dtype=torch.float64) for _ in range(2)]
    return qs.Task(*(qs.Examples(each, labels) for each in rows))


def pair(kind: type[Once], build: Callable[[nn.Module], Learner]) -> tuple[Learner, Learner]:
    """Return learners of a net with a shared layer, and of the same net that calls it under one name."""
    net, plain = kind(), Once()
    plain.load_state_dict({name: net.state_dict()[name] for name in plain.state_dict()})
    torch.manual_seed(0)
    shared = build(net)
    torch.manual_seed(0)
    return shared.eval(), build(plain).eval()


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", SHARED)
def test_a_shared_layer_adapts_as_if_it_had_one_name(kind: type[Once], name: str) -> None:
    learner, expected = pair(kind, LEARNERS[name])
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    for seed in range(3):
        some = task(seed)
        found = learner.predict(learner.adapt(some.support), some.query.inputs)
        close(found, expected.predict(expected.adapt(some.support), some.query.inputs))
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())
    assert all(isinstance(parameter, nn.Parameter) for parameter in learner.parameters())


def gradients(learner: Learner, compile: Any, how: Differentiation | None) -> dict[str, Tensor]:
    if how is not None:
        learner.differentiation = how  # type: ignore[assignment]
    tasks = batching.stack([task(seed) for seed in range(3)])
    loss = MetaLoss(learner, query_loss, compile=compile)
    loss.backward(tasks, random.learner_keys(0, torch.arange(3)))
    assert loss.compile == compile
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, how) for kind in SHARED for how in ("eager", "checkpoint")),
        *((kind, how) for kind in (TwoNames, TiedParameters) for how in ("record", "first order", "implicit")),
    ],
)
def test_a_shared_layer_has_the_meta_gradient_of_one_name(kind: type[Once], how: str) -> None:
    build = LEARNERS[{"first order": "FOMAML", "implicit": "IMAML"}.get(how, "MAML")]
    learner, expected = pair(kind, build)
    part = Unrolled(checkpoint=2) if how == "checkpoint" else None
    found = gradients(learner, "record" if how == "record" else False, part)
    wanted = gradients(expected, False, None)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_a_head_whose_parameters_have_another_name_too() -> None:
    learner = qs.learners.ANIL(TiedParameters(), head="c", lr=0.5, steps=1)
    assert set(learner.adapt(task(0).support).theta) == {"a.weight", "a.bias"}


def test_one_thread_alone_sees_what_is_exchanged() -> None:
    net, zero = nn.Linear(2, 2), torch.zeros(2, 2)
    seen: list[Tensor] = []
    with exchanged(net, {"weight": zero}):
        assert net.weight is zero
        assert dict(net.named_parameters())["weight"] is zero
        other = threading.Thread(target=lambda: seen.extend((net.weight, net.state_dict()["weight"])))
        other.start()
        other.join()
        assert not copy.deepcopy(net).weight.equal(zero)
        assert not pickle.loads(pickle.dumps(net)).weight.equal(zero)
    assert seen[0] is net.weight
    assert isinstance(net.weight, nn.Parameter)
    assert torch.equal(seen[1], net.weight)


def test_exchanges_within_each_other() -> None:
    net = nn.Linear(1, 1, bias=False)
    one, two = torch.ones(1, 1), torch.full((1, 1), 2.0)
    x = torch.ones(1, 1)

    def inside() -> tuple[Tensor, Tensor, Tensor]:
        return net(x), call(net, x, {"weight": two})[0], net(x)

    assert [float(value) for value in with_parameters(net, {"weight": one}, inside)] == [1, 2, 1]


def test_a_nets_own_functional_call_within() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            doubled = {"weight": 2 * self.inner.weight}
            return torch.func.functional_call(self.inner, doubled, (x,)) - self.inner(x)  # type: ignore[no-any-return]

    net, x, w = Scaled(), torch.randn(3, 2), torch.randn(2, 2)
    before = net.inner.weight
    close(call(net, x, {"inner.weight": w})[0], x @ w.T)
    assert net.inner.weight is before


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"'0\.other' is no parameter or buffer of Sequential"):
        call(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2), {"0.other": torch.zeros(2)})


def test_layers_without_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"layer '0' \(LazyLinear\) has yet to learn its sizes.*run the net once"):
        call(nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2)), torch.zeros(1, 2), {"1.bias": torch.zeros(2)})
