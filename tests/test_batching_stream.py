"""Answers along a sequence: from the rows before each row alone, for every learner."""

import pytest
import torch

import quickstudy as qs
from quickstudy import Examples, Task, batching
from quickstudy.core import Streaming
from quickstudy.functional import random
from quickstudy.functional.classes import answerable, presentation
from quickstudy.objectives import sequence
from quickstudy.testing.contract import _close, _doubles
from quickstudy.testing.specimens import CLASSIFICATION, FEATURES, REGRESSION, WAYS, conv4, mlp

LENGTH = 7
LABELS = torch.tensor([1, 0, 1, 2, 2, 0, 1])
KEY = random.key(3)


def stream(mask: torch.Tensor | None = None) -> Examples:
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(WAYS, FEATURES, generator=generator)
    inputs = centres[LABELS] + 0.3 * torch.randn(LENGTH, FEATURES, generator=generator)
    return Examples(inputs.double(), LABELS, mask, WAYS)


def learner_of(name: str) -> qs.Learner:
    learner = CLASSIFICATION[name](mlp, WAYS)
    return _doubles(learner, Task(stream(), stream()))[0]


def one_by_one(learner: qs.Learner, rows: Examples) -> torch.Tensor:
    """Adapt to the rows before each row, without padding; before the first there is nothing to adapt to."""
    answers = []
    for t in range(1, len(rows)):
        mask = None if rows.mask is None else rows.mask[:t]
        support = Examples(rows.inputs[:t], rows.labels[:t], mask, rows.ways, check=False)
        answers.append(learner.predict(learner.learn(support, KEY), rows.inputs[t : t + 1])[0])
    return torch.stack(answers)


# Mini-batches of a shorter support are other mini-batches.
@pytest.mark.parametrize("name", [name for name in CLASSIFICATION if name != "Reptile"])
def test_every_learner_answers_from_what_came_before(name: str) -> None:
    learner, rows = learner_of(name), stream()
    found = batching.stream_one(learner, rows, KEY)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(torch.softmax(found[0], 0), torch.full((WAYS,), 1 / WAYS, dtype=torch.float64))
    _close(found[1:], one_by_one(learner, rows), learner, "an answer along the way is not that of its prefix", 1e-8)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_nothing_leaks_from_later_rows(name: str) -> None:
    learner, rows = learner_of(name), stream()
    inputs, labels = rows.inputs.clone(), rows.labels.clone()
    inputs[5:], labels[4:] = -3.0, torch.tensor([0, 2, 2])
    other = Examples(inputs, labels, None, WAYS)
    before, after = (batching.stream_one(learner, each, KEY) for each in (rows, other))
    # Row 4 is answered before its own label is shown.
    torch.testing.assert_close(before[:5], after[:5])


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_batch_of_streams_is_its_streams_one_by_one(name: str) -> None:
    learner, first = learner_of(name), stream()
    second = Examples(2 * first.inputs.flip(0), first.labels.flip(0), None, WAYS)
    keys = torch.stack([KEY, KEY])
    found = batching.stream(learner, batching.stack([first, second]), keys, chunk_size=1)
    for i, rows in enumerate((first, second)):
        torch.testing.assert_close(found[i], batching.stream_one(learner, rows, KEY))


@pytest.mark.parametrize("name", ["MANN", "ProtoNet", "MAML", "RecurrentLearner-gru"])
def test_padding_rows_leave_no_trace(name: str) -> None:
    learner = learner_of(name)
    mask = torch.tensor([1, 1, 0, 1, 0, 1, 1]).bool()
    rows = stream(mask)
    short = Examples(rows.inputs[mask], rows.labels[mask], None, WAYS)
    found, expected = batching.stream_one(learner, rows, KEY)[mask], batching.stream_one(learner, short, KEY)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["MANN", "RecurrentLearner", "CNP"])
def test_streams_of_regression(name: str) -> None:
    net = lambda **options: mlp(inputs=1, **options)  # noqa: E731
    learner = REGRESSION[name](net, 1)
    task = qs.tasks.Sinusoid(shots=5, queries=2).batch(0, 1)
    rows = batching.select(task.support, 0)
    found = batching.stream_one(learner, rows, KEY)
    for t in range(1, len(rows)):
        part = Examples(rows.inputs[:t], rows.labels[:t])
        expected = learner.predict(learner.learn(part, KEY), rows.inputs[t : t + 1])
        _close(batching.select(found, t), batching.select(expected, 0), learner, "another answer", 1e-4)


def test_learners_of_batch_statistics_adapt_anew() -> None:
    learner = CLASSIFICATION["MANN"](conv4, WAYS).double()
    assert isinstance(learner, Streaming)
    assert not batching.streams(learner)
    rows = Examples(torch.rand(LENGTH, 1, 16, 16, dtype=torch.float64), LABELS, None, WAYS)
    found = batching.stream_one(learner, rows)
    assert torch.isfinite(found).all()
    _close(found[1:], one_by_one(learner, rows), learner, "another answer", 1e-8)
    loss = sequence(learner, Task(rows, rows), KEY)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters())


def test_presentations_and_what_can_be_answered() -> None:
    assert presentation(stream()).tolist() == [0, 0, 1, 0, 1, 1, 2]
    assert answerable(stream()).mask.tolist() == [False, False, True, False, True, True, True]
    mask = torch.tensor([0, 1, 1, 1, 1, 1, 1]).bool()
    assert answerable(stream(mask)).mask.tolist() == [False, False, False, False, True, True, True]
    targets = Examples(torch.rand(3, 1), torch.rand(3, 1))
    assert answerable(targets) is targets


def test_sequence_loss_is_the_mean_over_answerable_rows() -> None:
    learner, rows = learner_of("ProtoNet"), stream()
    logits = one_by_one(learner, rows)
    terms = [torch.nn.functional.cross_entropy(logits[t - 1], LABELS[t]) for t in (2, 4, 5, 6)]
    torch.testing.assert_close(sequence(learner, Task(rows, rows), KEY), torch.stack(terms).mean())
