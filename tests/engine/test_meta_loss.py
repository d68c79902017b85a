"""Losses of a meta-batch: chunks, few at a time, and the gradient of their mean."""

from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import Task, batching
from quickstudy.engine import meta_loss, sizes
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Lifted
from quickstudy.errors import InputError
from quickstudy.learners import ProtoNet
from quickstudy.objectives import query_loss
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.task_batches import KEYS, gradients, tasks


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["MAML", "ProtoNet", "Reptile", "IMAML"])
@pytest.mark.parametrize("size", [1, 3])
def test_gradient_in_chunks_is_the_whole_gradient(name: str, size: int) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS).double()
    batch = batching.to_dtype(tasks(), torch.float64)

    def run(chunk: int | None) -> tuple[Tensor, list[Tensor]]:
        learner.zero_grad()
        losses = MetaLoss(learner, query_loss, chunk).backward(batch, KEYS)
        return losses, [p.grad.clone() for p in learner.parameters()]

    for found, expected in zip(run(size), run(None), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_gradient_is_of_the_mean_and_adds_up() -> None:
    learner = ProtoNet(mlp())
    losses, once = gradients(MetaLoss(learner, query_loss))
    assert losses.shape == (7,)
    assert not losses.requires_grad
    mean = torch.stack([query_loss(learner, batching.select(tasks(), i), KEYS[i]) for i in range(7)]).mean()
    torch.testing.assert_close(torch.autograd.grad(mean, list(learner.parameters())), tuple(once))
    MetaLoss(learner, query_loss).backward(tasks(), KEYS)
    torch.testing.assert_close([p.grad for p in learner.parameters()], [2 * g for g in once])


def test_learners_without_gradient_have_losses() -> None:
    assert MetaLoss(qs.learners.NearestNeighbour(), query_loss, 2).backward(tasks(), KEYS).shape == (7,)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_queries_judged_few_at_a_time_give_the_same_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS).double()
    batch = batching.to_dtype(tasks(), torch.float64)
    whole = gradients(MetaLoss(learner, query_loss), batch)
    judged: list[int] = []

    def after(*args: object) -> Tensor:
        judged.append(1)
        return query_loss.after(*args)  # type: ignore[arg-type]

    objective = MetaLoss(learner, Lifted(query_loss, after=after), 5)
    monkeypatch.setattr(sizes, "JUDGED_NUMBERS", 2 * batch.query.inputs[0].numel())
    torch.testing.assert_close(gradients(objective, batch), whole)
    # Seven tasks adapt as 3 and 4; their queries are judged as 1 and 2, 2 and 2.
    assert len(judged) == 4


def test_a_gpu_without_memory_halves_its_chunks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = CLASSIFICATION["ProtoNet"](mlp, WAYS)
    expected = gradients(MetaLoss(learner, query_loss))
    counts: list[int] = []

    class Small(MetaLoss):
        def __call__(self, tasks: Task, keys: Tensor, learner: qs.Learner | None = None) -> Tensor:
            counts.append(batching.count(tasks))
            if counts[-1] > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(tasks, keys, learner)

    losses = Small(learner, query_loss, 7)
    monkeypatch.setattr(meta_loss, "ROOMY", ())
    torch.testing.assert_close(gradients(losses), expected)
    assert "going on with 2" in caplog.text
    counts.clear()
    gradients(losses)
    assert max(counts) <= 2, "it remembers"


def test_one_task_too_large_for_memory_says_so() -> None:
    class Tiny(MetaLoss):
        def __call__(self, tasks: Task, keys: Tensor, learner: qs.Learner | None = None) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        gradients(Tiny(CLASSIFICATION["ProtoNet"](mlp, WAYS), query_loss))


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (lambda rows: rows, r"shape \(6, 3\); take the mean"),
        (lambda rows: rows.mean().unsqueeze(0), r"shape \(1,\); take the mean"),
        (lambda rows: None, "not NoneType"),
        (lambda rows: {"loss": rows.mean()}, "not dict"),
        (lambda rows: 1.0, "not float"),
    ],
)
def test_what_is_no_loss_of_one_task_is_refused(judge: Any, words: str) -> None:
    def mine(learner: Any, task: Task, key: Tensor) -> Any:
        return judge(learner.predict(learner.adapt(task.support), task.query.inputs))

    def after(learner: Any, state: Any, task: Task, key: Tensor) -> Any:
        return judge(learner.predict(state, task.query.inputs))

    for objective in (mine, Lifted(mine, after=after)):
        with pytest.raises(InputError, match=f"objective 'mine' must return one task's loss.*{words}"):
            MetaLoss(ProtoNet(mlp()), objective).backward(tasks(), KEYS)
