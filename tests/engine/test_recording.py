"""A whole meta-gradient as one flat function."""

import logging
import random as python_random

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Task, batching
from quickstudy.engine import recording
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.learners import MAML, ProtoNet
from quickstudy.objectives import query_loss
from quickstudy.testing.contract import _variants
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp
from tests.helpers.task_batches import KEYS, gradients, tasks


def made(losses: MetaLoss) -> dict[object, recording.Recording]:
    """Return the recordings of the one function that was recorded."""
    (recorded,) = losses._recorded.values()
    return recorded._made


def test_falls_back_with_a_message(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch._inductor, "compile", refuse)
    learner = ProtoNet(mlp())
    losses = MetaLoss(learner, query_loss, compile=True)
    with caplog.at_level(logging.WARNING):
        found = gradients(losses)
        again = gradients(losses)
    expected = gradients(MetaLoss(learner, query_loss))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again, expected)
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "no compiler here" in caplog.records[0].message
    assert "going on without" in caplog.records[0].message


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_a_recorded_gradient_is_the_gradient(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS).double()
    batch = batching.to_dtype(tasks(2), torch.float64)
    losses = MetaLoss(learner, query_loss, compile="record")
    expected = gradients(MetaLoss(learner, query_loss), batch, KEYS[:2])
    torch.testing.assert_close(gradients(losses, batch, KEYS[:2]), expected)
    assert losses.compile
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(1.1)
    other = batching.select(batching.to_dtype(tasks(4), torch.float64), slice(2, 4))
    expected = gradients(MetaLoss(learner, query_loss), other, KEYS[2:4])
    torch.testing.assert_close(gradients(losses, other, KEYS[2:4]), expected)


@pytest.mark.usefixtures("float64")
def test_a_recording_is_of_one_setting() -> None:
    learner = MAML(mlp(WAYS), lr=0.1, steps=1).double()
    batch = batching.to_dtype(tasks(), torch.float64)
    losses = MetaLoss(learner, query_loss, compile="record")
    gradients(losses, batch)
    assert losses.compile
    for change in (lambda: setattr(learner, "steps", 2), lambda: next(learner.parameters()).requires_grad_(False)):
        change()
        expected = gradients(MetaLoss(learner, query_loss), batch)
        torch.testing.assert_close(gradients(losses, batch), expected)
    assert len(made(losses)) == 3
    gradients(losses, batch)
    assert len(made(losses)) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["MAML", "ProtoNet", "batch norm"])
def test_compiled_agrees_with_eager(name: str) -> None:
    batch, learner = tasks(), MAML(mlp(WAYS), lr=0.1, steps=2)
    if name == "ProtoNet":
        learner = ProtoNet(mlp())
    elif name == "batch norm":
        learner = ProtoNet(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten()))
        batch = batching.stack(_variants(classification_task(shape=(1, 5, 5)), 7))
    compiled, eager = MetaLoss(learner, query_loss, compile=True), MetaLoss(learner, query_loss)
    torch.testing.assert_close(gradients(compiled, batch), gradients(eager, batch))
    assert compiled.compile
    assert all(module.training for module in learner.modules())


def test_queries_judged_few_at_a_time_are_recorded_so() -> None:
    learner = MAML(qs.nets.conv4(hidden=64, outputs=2), lr=0.4, batch_norm="transductive")
    rows = [
        qs.Examples(torch.rand(3, n, 1, 28, 28), torch.arange(n).expand(3, n) % 2, ways=2, check=False) for n in (2, 40)
    ]
    batch = Task(*rows)
    recorded = MetaLoss(learner, query_loss, compile="record")
    expected = gradients(MetaLoss(learner, query_loss), batch, KEYS[:3])
    for _ in range(2):
        torch.testing.assert_close(gradients(recorded, batch, KEYS[:3]), expected, rtol=0, atol=0)
    assert recorded.compile
    (one,) = made(recorded).values()
    assert sum("log_softmax" in node.name and "backward" not in node.name for node in one.graph.graph.nodes) > 2


def test_gradients_are_added_to_those_before() -> None:
    learner = ProtoNet(mlp())
    losses = MetaLoss(learner, query_loss, compile="record")
    once = gradients(losses)[1]
    losses.backward(tasks(), KEYS)
    torch.testing.assert_close([p.grad for p in learner.parameters()], [2 * each for each in once])


def test_dropout_is_drawn_anew_and_as_without_recording() -> None:
    learner = ProtoNet(nn.Sequential(mlp(), nn.Dropout()))
    recorded, plain = MetaLoss(learner, query_loss, compile="record"), MetaLoss(learner, query_loss)

    def three(losses: MetaLoss) -> list[Tensor]:
        torch.manual_seed(3)
        return [gradients(losses)[0] for _ in range(3)]

    three(recorded)  # recording itself draws
    found = three(recorded)
    torch.testing.assert_close(found, three(plain))
    assert not torch.equal(found[0], found[1])
    assert recorded.compile


def test_a_change_that_cannot_be_recorded_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    learner, weight = ProtoNet(mlp()), [1.0]

    def objective(learner: qs.Learner, task: Task, key: Tensor) -> Tensor:
        return weight[0] * query_loss(learner, task, key)

    losses = MetaLoss(learner, objective, compile="record")
    expected = gradients(losses)[0]
    weight[0] = 2.0
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(gradients(losses)[0], 2 * expected)
    assert "depends on more than tensors" in caplog.text
    assert not losses.compile


def test_chance_outside_torch_is_noticed_at_once() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * python_random.random()

    learner = ProtoNet(nn.Sequential(Noisy(), nn.Linear(classification_task().support.inputs[0].numel(), 4)))
    losses = MetaLoss(learner, query_loss, compile="record")
    gradients(losses)
    assert not losses.compile


def test_does_not_record_for_ever() -> None:
    learner = MAML(mlp(WAYS), lr=0.1, steps=1)
    losses = MetaLoss(learner, query_loss, compile="record")
    for count in range(1, recording.MOST + 2):
        assert losses.compile
        gradients(losses, tasks(count), KEYS[:1].expand(count))
    assert not losses.compile


def test_does_not_record_what_takes_too_long(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LONGEST", 100)
    learner = MAML(mlp(WAYS), lr=0.1, steps=5)
    losses = MetaLoss(learner, query_loss, compile="record")
    expected = gradients(MetaLoss(learner, query_loss))
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(gradients(losses), expected)
    assert "more than 100 operations" in caplog.text


def test_what_is_given_twice_may_be_two_the_next_time() -> None:
    recorded = recording.Recorded(lambda learner, inputs: (inputs[0] - inputs[1]).sum().reshape(1))
    learner, one, other = ProtoNet(mlp()), torch.ones(3), torch.zeros(3)
    assert recorded(learner, (one, one)).tolist() == [0.0]
    # Looked at once only: at the second call the plain way would set it right.
    next(iter(recorded._made.values())).replays = 2
    assert recorded(learner, (one, other)).tolist() == [3.0]
