"""What a forward leaves on its modules within a transform is put back, and outside stays as in plain PyTorch."""

from __future__ import annotations

import collections
import copy
import io
import pickle
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.errors import UnsupportedLayerError
from quickstudy.operators.calls import call

X = np.random.default_rng(0).normal(size=(120, 6)).astype("float32")
TASKS = qs.tasks.FewShot(qs.datasets.arrays(X, np.repeat(np.arange(12), 10)), ways=3, shots=2, queries=3)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.prepare()

    def prepare(self) -> None:
        """Make what `leave` writes to."""

    def leave(self, h: Tensor) -> None:
        """Leave something on the module."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        self.leave(h)
        return self.head(h)  # type: ignore[no-any-return]


class Attribute(Plain):
    last: Any = None

    def leave(self, h: Tensor) -> None:
        self.last = (h, {"row": h[0].detach()})
        self.head.seen = h  # type: ignore[assignment]


class Containers(Plain):
    def prepare(self) -> None:
        self.all: list[Any] = []
        self.maps: dict[str, Any] = {"deep": [[]]}
        self.recent: Any = collections.deque(maxlen=2)
        self.object = types.SimpleNamespace(h=None)
        self.calls = 0

    def leave(self, h: Tensor) -> None:
        self.all.append(h)
        self.maps["h"] = h
        self.maps["deep"][0].append(h)
        self.recent.append(h)
        self.object.h = h
        self.calls += 1


class NewBuffer(Plain):
    def leave(self, h: Tensor) -> None:
        self.register_buffer("cache", h.detach())


class Counter(Plain):
    def prepare(self) -> None:
        self.register_buffer("n", torch.zeros((), dtype=torch.long))

    def leave(self, h: Tensor) -> None:
        before = int(self.n)
        self.n += 1
        self.n.add_(1)
        assert int(self.n) == before + 2


class BoundAnew(Plain):
    def prepare(self) -> None:
        self.register_buffer("mean", torch.zeros(8))

    def leave(self, h: Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)


class Hooked(Plain):
    def prepare(self) -> None:
        self.kept: list[Tensor] = []
        self.a.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.kept.append(output)
        module.output = output


class OldWeightNorm(Plain):
    def prepare(self) -> None:
        with pytest.warns(FutureWarning, match="deprecated"):
            torch.nn.utils.weight_norm(self.a)


class OldSpectralNorm(Plain):
    def prepare(self) -> None:
        torch.nn.utils.spectral_norm(self.a)


class SpectralNorm(Plain):
    def prepare(self) -> None:
        torch.nn.utils.parametrizations.spectral_norm(self.a)


class Recurrent(Plain):
    """PyTorch's recurrent layers keep a list of their weights, which are exchanged."""

    def prepare(self) -> None:
        self.a = nn.LSTM(3, 8, batch_first=True)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x.reshape(-1, 2, 3))[0][:, -1])  # type: ignore[no-any-return]


KINDS = [
    *(Attribute, Containers, NewBuffer, Counter, BoundAnew, Hooked, OldWeightNorm, OldSpectralNorm, SpectralNorm),
    Recurrent,
]


def check_usable(learner: Learner) -> None:
    x, y = X[:6], [0, 1, 2] * 2
    expected = qs.FewShotClassifier(learner).fit(x, y).predict_proba(x)
    assert np.array_equal(qs.FewShotClassifier(copy.deepcopy(learner)).fit(x, y).predict_proba(x), expected)
    torch.save(learner.state_dict(), io.BytesIO())
    if not any(torch.nn.utils.parametrize.is_parametrized(module) for module in learner.modules()):
        assert np.array_equal(
            qs.FewShotClassifier(pickle.loads(pickle.dumps(learner))).fit(x, y).predict_proba(x), expected
        )


@pytest.mark.parametrize(
    ("kind", "name", "compile"),
    [
        *((kind, name, False) for kind in KINDS for name in ("ProtoNet", "MAML")),
        *((kind, "MAML", "record") for kind in (Attribute, BoundAnew, OldWeightNorm)),
    ],
)
def test_the_learner_can_be_used_afterwards(kind: type[Plain], name: str, compile: Any) -> None:
    net = kind()
    learner = qs.learners.ProtoNet(net) if name == "ProtoNet" else qs.learners.MAML(net, lr=0.1, steps=2)
    learner = qs.meta_train(learner, TASKS, steps=2, meta_batch=2, progress=False, compile=compile).learner
    check_usable(learner)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    qs.evaluate(learner, TASKS, tasks=4)
    check_usable(learner)
    support = batching.select(TASKS.batch(0, 1), 0).support
    if name == "MAML":
        learner.predict(learner.adapt(support), support.inputs)
        check_usable(learner)
    now = learner.state_dict()
    assert now.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in now.items())


def test_nothing_of_a_transform_is_left() -> None:
    net = Containers()
    vmap(lambda rows: call(net, rows)[0])(torch.randn(3, 2, 6))
    assert not net.all
    assert net.maps == {"deep": [[]]}
    assert not net.recent
    assert net.object.h is None
    assert net.calls == 1  # a number is of no transform


def test_outside_of_transforms_all_is_kept() -> None:
    net, counter = Containers(), Counter()
    for _ in range(2):
        call(net, torch.randn(2, 6))
        call(counter, torch.randn(2, 6))
    assert len(net.all) == len(net.maps["deep"][0]) == 2
    assert net.object.h is net.all[-1]
    assert int(counter.n) == 4


def test_a_loss_can_read_what_the_net_left() -> None:
    class Regularised(Plain):
        def leave(self, h: Tensor) -> None:
            self.penalty = h.square().mean()

    learner = qs.learners.ProtoNet(Regularised())

    def loss(learner: Any, task: qs.Task, key: Tensor) -> Tensor:
        learner.predict(learner.adapt(task.support), task.query.inputs)
        return learner.net.penalty  # type: ignore[no-any-return]

    run = qs.meta_train(learner, TASKS, objective=loss, steps=1, meta_batch=2, progress=False)
    assert run.history[0]["loss"] > 0
    assert not hasattr(learner.net, "penalty")


class Averages(Plain):
    def prepare(self) -> None:
        self.register_buffer("mean", torch.zeros(8))

    def leave(self, h: Tensor) -> None:
        self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)


class ThroughAView(Averages):
    def leave(self, h: Tensor) -> None:
        self.mean[0].add_(1)


@pytest.mark.parametrize("kind", [Averages, ThroughAView])
def test_buffers_that_tasks_would_share_are_refused(kind: type[Plain]) -> None:
    net = nn.Sequential(kind())
    with pytest.raises(
        UnsupportedLayerError, match=rf"layer '0' \({kind.__name__}\).*in-place change of buffer 'mean'"
    ):
        vmap(lambda rows: call(net, rows)[0])(torch.randn(3, 2, 6))
    assert torch.equal(net[0].mean, torch.zeros(8))


def test_one_task_sees_its_own_changes_and_leaves_none() -> None:
    net = Averages()
    grad(lambda rows: call(net, rows)[0].sum())(torch.randn(2, 6))
    assert torch.equal(net.mean, torch.zeros(8))
