"""The loss over all pairs, against loops over them."""

import math

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.objectives import all_pairs

pytestmark = pytest.mark.usefixtures("float64")
KEY = random.key(0)


def task(mask: torch.Tensor | None = None) -> qs.Task:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])
    part = [None, None] if mask is None else [mask[:3], mask[3:]]
    return qs.Task(qs.Examples(rows[:3], labels[:3], part[0], 3), qs.Examples(rows[3:], labels[3:], part[1], 3))


def by_hand(features: torch.Tensor, labels: list[int]) -> float:
    losses = []
    for i, one in enumerate(labels):
        near = [math.exp(-float((features[i] - other).square().sum())) for other in features]
        means = [
            sum(near[k] for k, label in enumerate(labels) if label == c) / labels.count(c) for c in set(labels) - {one}
        ]
        losses += [
            -math.log(near[j] / (near[j] + sum(means))) for j, other in enumerate(labels) if other == one and j != i
        ]
    return sum(losses) / len(losses)


def test_is_the_mean_over_pairs() -> None:
    learner, rows = qs.learners.ProtoNet(nn.Linear(4, 2)), task()
    inputs = torch.cat([rows.support.inputs, rows.query.inputs])
    labels = [*rows.support.labels.tolist(), *rows.query.labels.tolist()]
    assert float(all_pairs(learner, rows, KEY).detach()) == pytest.approx(by_hand(learner.net(inputs).detach(), labels))


def test_rows_that_are_padding_take_no_part() -> None:
    learner = qs.learners.ProtoNet(nn.Linear(4, 2))
    mask = torch.tensor([True, True, True, True, False, True, False, True, True])
    rows = task(mask)
    inputs = torch.cat([rows.support.inputs, rows.query.inputs])[mask]
    labels = torch.cat([rows.support.labels, rows.query.labels])[mask].tolist()
    assert float(all_pairs(learner, rows, KEY).detach()) == pytest.approx(by_hand(learner.net(inputs).detach(), labels))


@pytest.mark.parametrize("name", ["ProtoNet", "MatchingNet", "Siamese"])
def test_its_gradient(name: str) -> None:
    learner, rows = getattr(qs.learners, name)(nn.Linear(4, 2)), task()

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(_Loss(learner, rows), {"learner.net.weight": weight}, ())

    assert torch.autograd.gradcheck(loss, (learner.net.weight.detach().clone().requires_grad_(),))


class _Loss(nn.Module):
    def __init__(self, learner: qs.Learner, rows: qs.Task) -> None:
        super().__init__()
        self.learner, self.rows = learner, rows

    def forward(self) -> torch.Tensor:
        return all_pairs(self.learner, self.rows, KEY)


def test_a_single_class_has_nothing_to_be_told_from() -> None:
    learner = qs.learners.ProtoNet(nn.Linear(4, 2))
    rows = torch.randn(3, 4, dtype=torch.float64)
    alone = qs.Task(qs.Examples(rows[:1], torch.tensor([0])), qs.Examples(rows[1:], torch.tensor([0, 0])))
    loss = all_pairs(learner, alone, KEY)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(learner.net.weight.grad).all()


def test_a_learner_that_compares_no_rows_is_refused() -> None:
    learner = qs.learners.MAML(nn.Linear(4, 3))
    with pytest.raises(InputError, match="compares no embeddings"):
        qs.meta_train(learner, qs.tasks.OneTask(task()), objective="all_pairs", steps=1, progress=False)
