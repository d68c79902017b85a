"""A context that all tasks share is encoded once for a batch of tasks, and its encoder is meta-learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import quickstudy as qs
from quickstudy.datasets import TaskData
from quickstudy.testing import check_learner

NODES = 30


class Graph(nn.Module):
    """Two rounds of means over neighbours; it counts its forwards and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 5)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, nodes: Tensor, links: Tensor) -> Tensor:
        self.seen.append(tuple(nodes.shape))
        return self.second(links @ self.first(links @ nodes).tanh())


def graph() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    links = (torch.rand(NODES, NODES, generator=generator) < 0.2).float() + torch.eye(NODES)
    return {"nodes": torch.randn(NODES, 4, generator=generator), "links": links / links.sum(1, keepdim=True)}


def tasks(count: int = 20) -> qs.tasks.FromTaskData:
    """Return tasks whose items are nodes: places in the graph."""
    generator = torch.Generator().manual_seed(1)
    # Whether a node's neighbourhood is above the middle in the first feature, or below it: one of the two is class 1.
    smooth = (graph()["links"] @ graph()["nodes"])[:, 0]
    labels = (smooth > smooth.median()) ^ (torch.rand(count, 1, generator=generator) < 0.5)
    given = {f"t{i}": (range(NODES), row) for i, row in enumerate(labels)}
    return qs.tasks.FromTaskData(TaskData(torch.arange(NODES), given), 3, 6, "balanced", too_few="leave out")


LEARNERS: dict[str, Callable[[], qs.Learner]] = {
    "ProtoNet": lambda: qs.learners.ProtoNet(nn.Identity()),
    "MAML": lambda: qs.learners.MAML(nn.Linear(5, 2), lr=0.3, steps=2),
    "VERSA": lambda: qs.learners.VERSA(nn.Identity(), 2, features=5),
}


def shared(name: str) -> tuple[qs.learners.SharedContext, Graph]:
    torch.manual_seed(0)
    encoder = Graph()
    return qs.learners.SharedContext(LEARNERS[name](), encoder, graph()), encoder


@pytest.mark.parametrize("name", ["ProtoNet", "MAML"])
@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_of_tasks_encodes_the_context_once(name: str, count: int) -> None:
    learner, encoder = shared(name)
    batch = tasks().batch(0, count)

    def loss(task: qs.Task) -> Tensor:
        return learner.loss(learner.adapt(task.support), task.query)

    losses = qs.batching.map_tasks(loss, batch)
    assert encoder.seen == [(NODES, 4)], "one forward, of a context without a task dimension"
    losses.mean().backward()
    found = [parameter.grad.clone() for parameter in encoder.parameters()]
    assert all(bool((grad != 0).any()) for grad in found)
    encoder.zero_grad()
    one_by_one = [loss(qs.batching.select(batch, i)) for i in range(count)]
    torch.testing.assert_close(losses, torch.stack(one_by_one))
    torch.stack(one_by_one).mean().backward()
    for grad, parameter in zip(found, encoder.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-4, atol=1e-6)


def test_no_operation_of_the_encoder_is_done_for_each_task() -> None:
    """Under vmap a module is called once whatever it does: count what its layers are given, beneath the transform."""
    learner, encoder = shared("ProtoNet")
    sizes: list[int] = []
    with FlopCounterMode(display=False) as one:
        encoder(**graph())
    for count in (1, 9):
        batch = tasks().batch(0, count)
        with FlopCounterMode(display=False) as counter:
            states = qs.batching.adapt(learner, batch.support)
        sizes.append(counter.get_total_flops())
        assert states.features.shape == (count, NODES, 5)
        assert states.features.stride(0) == 0 or count == 1, "a view, not copies"
    assert sizes[1] - sizes[0] < one.get_total_flops(), "what grows with the tasks is the prototypes alone"


@pytest.mark.parametrize("name", ["ProtoNet", "MAML"])
def test_evaluating_and_training_encode_once_per_batch(name: str) -> None:
    learner, encoder = shared(name)
    qs.evaluate(learner, tasks(), 12, chunk=4)
    assert encoder.seen == [(NODES, 4)] * 3
    encoder.seen.clear()
    before = [parameter.clone() for parameter in encoder.parameters()]
    qs.meta_train(learner, tasks(), steps=2, meta_batch=5, chunk=5, progress=False, compile=False)
    assert encoder.seen == [(NODES, 4)] * 2
    assert not any(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_training_the_encoder_pays(tmp_path: Path) -> None:
    learner, _ = shared("ProtoNet")
    before = qs.evaluate(learner, tasks(), 50).accuracy
    outer = qs.outer.Gradient(lr=1e-2)
    qs.meta_train(
        learner, tasks(), outer=outer, steps=60, meta_batch=8, progress=False, compile=False, run_dir=tmp_path / "run"
    )
    after = qs.evaluate(learner, tasks(), 50).accuracy
    assert after > before + 0.05
    again = qs.load(tmp_path / "run", shared("ProtoNet")[0], "last")
    assert qs.evaluate(again, tasks(), 50).accuracy == pytest.approx(after)
    assert not any("context" in key for key in learner.state_dict())


@pytest.mark.parametrize("name", LEARNERS)
def test_the_promises_hold(name: str) -> None:
    task = qs.batching.select(tasks().batch(0, 1), 0)
    check_learner(
        shared(name)[0], qs.Task(*(qs.Examples(p.inputs, p.labels, ways=2) for p in (task.support, task.query)))
    )


def test_rows_may_add_what_is_theirs() -> None:
    def read(features: Tensor, inputs: dict[str, Any]) -> Tensor:
        return torch.cat([features[inputs["node"]], inputs["hour"]], 1)

    learner = qs.learners.SharedContext(qs.learners.ProtoNet(nn.Linear(6, 4)), Graph(), graph(), read)
    support = qs.Examples({"node": torch.tensor([3, 4]), "hour": torch.rand(2, 1)}, [0, 1])
    asked = {"node": torch.tensor([5, 6, 7]), "hour": torch.rand(3, 1)}
    assert learner.predict(learner.adapt(support), asked).shape == (3, 2)
