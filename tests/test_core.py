"""Examples, tasks and the loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Examples, Task, batching
from quickstudy.core import Resumable, masked_mean, prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.learners import MAML, ProtoNet
from quickstudy.operators import trees


def test_examples_from_arrays() -> None:
    rows = Examples(np.zeros((3, 2)), [0, 2, 1])
    assert rows.ways == 3
    assert len(rows) == 3
    assert rows.inputs.dtype == torch.float32
    assert rows.labels.dtype == torch.int64
    assert Examples(torch.zeros(2, 2, dtype=torch.float64), np.array([0, 1], np.int32)).labels.dtype == torch.int64
    assert Examples(np.zeros((2, 1)), np.array([True, False])).ways == 2
    assert Examples(np.zeros((2, 1)), [0, 1], ways=5).ways == 5
    assert Examples(np.zeros((2, 1)), [0.5, 1.5]).ways is None
    assert Examples(np.zeros((2, 1)), [0, 1], np.array([True, False])).mask.tolist() == [True, False]


def test_rows_that_count() -> None:
    mask = torch.tensor([True, False])
    assert torch.equal(Examples(np.zeros((2, 1)), [0, 1], mask).counted, mask)
    plain = Examples(np.zeros((3, 1)), torch.zeros(3, 2))
    assert torch.equal(plain.counted, torch.ones(3).bool())
    assert plain.mask is None


@pytest.mark.parametrize("masked", [(False, False), (True, False), (False, True), (True, True)])
def test_joined_rows(masked: tuple[bool, bool]) -> None:
    masks = [torch.tensor([False, True]) if one else None for one in masked]
    one = Examples({"a": np.zeros((2, 1))}, [0, 1], masks[0], 3)
    other = Examples({"a": np.ones((2, 1))}, [1, 1], masks[1])
    both = one.joined(other)
    assert both.ways == 3
    assert both.inputs["a"].flatten().tolist() == [0, 0, 1, 1]
    assert both.labels.tolist() == [0, 1, 1, 1]
    assert (both.mask is None) == (not any(masked))
    assert both.counted.tolist() == [not masked[0], True, not masked[1], True]


def test_examples_of_no_row() -> None:
    assert len(Examples(np.zeros((0, 2)), np.zeros(0, int), ways=3)) == 0


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "message"),
    [
        (np.zeros((3, 2)), [0, 1], {}, "first dimensions must agree"),
        (np.zeros(()), [0], {}, "first dimensions must agree"),
        (np.zeros((1, 2)), 0, {}, "single number"),
        (np.array([[0.0], [np.nan]]), [0, 1], {}, "NaN or infinity, first in row 1"),
        (np.array([[np.inf], [0.0]]), [0, 1], {}, "first in row 0"),
        ({"x": np.zeros((2, 1)), "y": np.array([[0.0], [np.nan]])}, [0, 1], {}, "first in row 1"),
        (np.zeros((2, 1)), [0.0, np.nan], {}, "labels hold NaN"),
        (np.zeros((2, 1)), [0, -1], {}, r"labels lie in -1\.\.0"),
        (np.zeros((2, 1)), [0, 3], {"ways": 3}, r"3 ways has labels 0\.\.2"),
        (np.zeros((2, 1)), [0, 1], {"mask": torch.ones(3).bool()}, r"mask must be \(2,\) booleans"),
        (np.zeros((2, 1)), [0, 1], {"mask": torch.ones(2)}, "booleans, not .* of torch.float32"),
        (np.zeros((2, 1)), [0, 1], {"mask": torch.ones(2, 1).bool()}, "mask must be"),
        (["a", "b"], [0, 1], {}, "expected numbers"),
        (np.zeros((2, 1)), ["a", "b"], {}, r"labels must be numbers, 0\.\.N-1.*numpy\.unique"),
    ],
)
def test_examples_are_checked(inputs: object, labels: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Examples(inputs, labels, **options)


def test_examples_are_immutable_pytrees() -> None:
    rows = Examples({"a": torch.arange(3.0), "b": (torch.ones(3, 2),)}, [0, 1, 1], torch.tensor([True, True, False]), 4)
    with pytest.raises(AttributeError):
        rows.ways = 2  # type: ignore[misc]
    leaves, structure = trees.flatten(Task(rows, rows))
    assert len(leaves) == 8
    again = trees.unflatten(leaves, structure)
    assert again.support.ways == 4
    assert torch.equal(again.query.mask, rows.mask)
    assert len(trees.leaves(Examples(torch.zeros(2, 1), [0, 1]))) == 2


class Mixed(nn.Module):
    """Takes a dict of numbers and categories."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.numbers = nn.Embedding(5, 3), nn.Linear(2, 3)

    def forward(self, words: Tensor, numbers: Tensor) -> Tensor:
        return self.words(words) + self.numbers(numbers)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_inputs_of_several_tensors(kind: str) -> None:
    from quickstudy.testing import check_learner

    def rows(count: int) -> Examples:
        words, numbers = torch.randint(0, 5, (count,)), torch.randn(count, 2)
        inputs = {"words": words, "numbers": numbers} if kind == "dict" else (words, numbers)
        return Examples(inputs, torch.arange(count) % 3)

    task = Task(rows(9), rows(6))
    check_learner(ProtoNet(Mixed()), task)
    check_learner(MAML(Mixed(), lr=0.1), task)


def test_loss_is_masked_cross_entropy_or_squared_error() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    mask = torch.tensor([True, False, True, True])
    rows = Examples(torch.zeros(4, 1), labels, mask, 3)
    torch.testing.assert_close(prediction_loss(logits, rows), F.cross_entropy(logits[mask], labels[mask]))
    targets = torch.randn(4, 2)
    rows = Examples(torch.zeros(4, 1), targets, mask)
    outputs = torch.randn(4, 2)
    torch.testing.assert_close(prediction_loss(outputs, rows), F.mse_loss(outputs[mask], targets[mask]))
    flat = Examples(torch.zeros(4, 1), targets[:, 0])
    torch.testing.assert_close(prediction_loss(outputs[:, :1], flat), F.mse_loss(outputs[:, 0], targets[:, 0]))
    with pytest.raises(InputError, match="as many outputs"):
        prediction_loss(outputs, flat)


def test_dense_labels() -> None:
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    rows = Examples(torch.zeros(2, 1), labels)
    torch.testing.assert_close(prediction_loss(logits, rows), F.cross_entropy(logits, labels))


def test_masked_mean_of_padding_alone_is_zero_and_ignores_nan() -> None:
    values = torch.tensor([float("nan"), 2.0])
    assert masked_mean(values, torch.tensor([False, True])).item() == 2
    assert masked_mean(values, torch.tensor([False, False])).item() == 0


def test_resumable_is_recognised() -> None:
    assert isinstance(MAML(qs.nets.mlp(1, outputs=1)), Resumable)
    assert not isinstance(ProtoNet(qs.nets.mlp(1)), Resumable)


def test_learner_says_what_is_missing() -> None:
    learner = qs.Learner()
    for call in (lambda: learner.adapt(None), lambda: learner.predict(None, None)):
        with pytest.raises(NotImplementedError):
            call()
    assert learner.batch_norm == "none"


def test_stack_and_select() -> None:
    task = qs.tasks.Sinusoid(shots=2, queries=3).batch(0, 4)
    assert batching.count(task) == 4
    one = batching.select(task, 2)
    assert one.support.inputs.shape == (2, 1)
    again = batching.stack([batching.select(task, i) for i in range(4)])
    assert torch.equal(again.query.labels, task.query.labels)


def test_query_of_classes_that_the_support_lacks_is_refused() -> None:
    support, query = Examples(torch.zeros(2, 1), [0, 1], ways=3), Examples(torch.zeros(2, 1), [0, 2])
    with pytest.raises(InputError, match="the query has label 2, which no support row has"):
        Task(support, query)
    hidden = Examples(torch.zeros(3, 1), [0, 1, 2], torch.tensor([True, True, False]), ways=3)
    with pytest.raises(InputError, match="the query has label 2"):
        Task(hidden, query)
    Task(support, hidden)  # What is only padding is not asked for.
    batch = batching.stack([Task(support, support)] * 2)
    turned = batching.map_tasks(lambda task: Task(task.query, task.support), batch)
    assert torch.equal(turned.support.labels, batch.query.labels)


class Noisy(qs.Learner):
    """A state that is the key's draw."""

    stochastic = True  # type: ignore[assignment]

    def adapt(self, support: Examples, key: Tensor) -> Tensor:  # type: ignore[override]
        return random.normal(key, 2)


def test_learn_passes_the_key_to_those_who_take_one() -> None:
    rows, key = Examples(np.zeros((2, 1)), [0, 1]), random.key(5)
    assert torch.equal(Noisy().learn(rows, key), random.normal(key, 2))
    assert torch.equal(Noisy().learn(rows, key), random.normal(key, 2))
    with pytest.raises(InputError, match="pass keys"):
        Noisy().learn(rows)
    plain = ProtoNet(nn.Identity())
    assert torch.equal(plain.learn(rows, key).means, plain.adapt(rows).means)
    assert torch.equal(plain.learn(rows).means, plain.adapt(rows).means)
