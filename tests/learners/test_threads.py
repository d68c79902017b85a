"""One learner, and one classifier, serve many threads: every answer right, and weights the same to the bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.core import Learner
from quickstudy.errors import InputError

LABELS = torch.arange(9) % 3
QUERY = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")


class Keeps(nn.Module):
    """Reads what it has left on itself, and has a layer under two names and an old weight norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.b, self.last = self.a, None
        with pytest.warns(FutureWarning, match="deprecated"):
            torch.nn.utils.weight_norm(self.head)

    def forward(self, x: Tensor) -> Tensor:
        self.last = torch.tanh(self.a(x))  # type: ignore[assignment]
        self.last = torch.tanh(self.b(self.last))
        return self.head(self.last)  # type: ignore[no-any-return]


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(2, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x.unflatten(1, (2, 2)))[0][:, -1])  # type: ignore[no-any-return]


LEARNERS: dict[str, Callable[[], Learner]] = {
    "MAML": lambda: qs.learners.MAML(qs.nets.mlp(4, (16,), outputs=3), lr=1.0, steps=3),
    "MAML of norms": lambda: qs.learners.MAML(normed(), lr=0.1, steps=2).train(),
    "MAML that keeps": lambda: qs.learners.MAML(Keeps(), lr=0.1, steps=2),
    "MAML of a cell": lambda: qs.learners.MAML(Recurrent(), lr=0.1, steps=1),
    "ProtoNet of norms": lambda: qs.learners.ProtoNet(normed()).train(),
    "ProtoNet that keeps": lambda: qs.learners.ProtoNet(Keeps()),
}


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Let threads take turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(function: Callable[[int], Any], calls: int) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, range(calls)))


def rows(seed: int) -> Tensor:
    return torch.randn(9, 4, generator=torch.Generator().manual_seed(seed))


def check(name: str, calls: int) -> None:
    torch.manual_seed(0)
    learner = LEARNERS[name]()
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    modes = [module.training for module in learner.modules()]
    fitted = qs.FewShotClassifier(learner).fit(QUERY, LABELS.numpy())

    def serve(call: int) -> Any:
        seed = call % 40
        support = rows(seed)
        if call % 4 == 0:
            return fitted.predict_proba(support.numpy())
        if call % 4 == 1:
            return qs.FewShotClassifier(learner).fit(support.numpy(), LABELS.numpy()).predict(QUERY)
        if call % 7 == 2:
            with pytest.raises((InputError, RuntimeError)):
                learner.adapt(qs.Examples(support[:, :3], LABELS))
            return None
        with torch.set_grad_enabled(call % 2 == 0):
            return learner.predict(learner.adapt(qs.Examples(support, LABELS)), support).detach().numpy()

    expected = [serve(call) for call in range(280)]
    for call, found in enumerate(in_threads(serve, calls)):
        wanted = expected[call % 280]
        if found is None or found.dtype.kind != "f":
            assert np.array_equal(found, wanted) if found is not None else wanted is None
        else:
            # To rounding: on a busy machine, threads may multiply matrices by more than one thread of their own.
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())
    assert [module.training for module in learner.modules()] == modes


@pytest.mark.parametrize("name", LEARNERS)
def test_one_learner_serves_many_threads(name: str) -> None:
    check(name, 140)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_two_thousand_calls(name: str) -> None:
    check(name, 2000)


def distribution() -> qs.tasks.FewShot:
    inputs = np.random.default_rng(1).normal(size=(60, 4)).astype("float32")
    return qs.tasks.FewShot(qs.datasets.arrays(inputs, np.repeat(np.arange(6), 10)), ways=3, shots=1, queries=3)


def test_evaluations_in_threads() -> None:
    learner, tasks = qs.learners.MAML(nn.Sequential(normed(), nn.Dropout()), lr=0.1, steps=1).train(), distribution()
    expected = qs.evaluate(learner, tasks, tasks=12, curve_steps=0).mean
    found = in_threads(lambda _: qs.evaluate(learner, tasks, tasks=12, curve_steps=0).mean, 16)
    assert found == [expected] * 16
    assert all(module.training for module in learner.modules())


@pytest.mark.parametrize("shared", [True, False])
def test_trainings_in_threads(shared: bool) -> None:
    torch.manual_seed(0)
    state = Keeps().state_dict()

    def net() -> nn.Module:
        made = Keeps()
        made.load_state_dict(state)
        return made

    nets = [net()] * 2 if shared else [net(), net()]
    learners = [qs.learners.MAML(nets[0], lr=0.1, steps=1), qs.learners.ProtoNet(nets[1])]

    def train(place: int) -> list[float]:
        options = {"steps": 6, "meta_batch": 2, "progress": False, "compile": False}
        return [row["loss"] for row in qs.meta_train(learners[place], distribution(), **options).history]

    found = in_threads(train, 2)
    assert np.isfinite(found).all()
    assert all(torch.isfinite(value).all() for learner in learners for value in learner.state_dict().values())
    if not shared:
        learners = [qs.learners.MAML(net(), lr=0.1, steps=1), qs.learners.ProtoNet(net())]
        assert [train(0), train(1)] == found
