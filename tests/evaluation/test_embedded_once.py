"""Embedding each row of a bank once changes nothing but the time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.evaluation.embedded_once import embedded_once
from tests.helpers.several import Reader, sentences


class Counting(nn.Module):
    """Embeds rows, and counts them."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 5), nn.BatchNorm1d(5) if norm else nn.Identity()
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.norm(self.linear(x)).tanh()


def data(classes: int = 8, each: int = 10) -> qs.datasets.ClassData:
    torch.manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    return qs.datasets.arrays((labels.unsqueeze(1) + torch.randn(classes * each, 6)).numpy(), labels.numpy())


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("learner", ["ProtoNet", "MatchingNet", "Siamese"])
@pytest.mark.parametrize("ways", [3, (2, 4)])
def test_reports_are_the_same(norm: bool, learner: str, ways: int | tuple[int, int]) -> None:
    torch.manual_seed(1)
    net = Counting(norm)
    net(torch.randn(30, 6))  # running averages other than 0 and 1
    policy = {"batch_norm": "frozen"} if norm else {}
    solver = getattr(qs.learners, learner)(net, **policy)
    tasks = qs.tasks.FewShot(data(), ways=ways, shots=2, queries=4)
    net.rows = 0
    once = qs.evaluate(solver, tasks, 60)
    assert net.rows <= 80, "each row at most once"
    one_by_one = [
        float(
            (solver.predict(solver.adapt(task.support), task.query.inputs).argmax(1) == task.query.labels)
            .float()
            .mean()
        )
        for task in (qs.batching.select(tasks.bank(60).draw(torch.arange(60)), i) for i in range(60))
        if task.query.mask is None
    ]
    if one_by_one:
        torch.testing.assert_close(torch.tensor(once.values).float(), torch.tensor(one_by_one))
    several = qs.evaluate(solver, tasks, 60, chunk=7)
    torch.testing.assert_close(torch.tensor(several.values), torch.tensor(once.values))


def test_statistics_of_the_support_need_each_task_alone() -> None:
    solver = qs.learners.ProtoNet(Counting(True), batch_norm="support")
    bank = qs.tasks.FewShot(data(), ways=3, shots=2, queries=4).bank(20)
    assert embedded_once(solver, bank, torch.arange(20)) == (solver, bank)


def test_augmented_rows_are_not_the_same_rows() -> None:
    solver = qs.learners.ProtoNet(Counting(False))
    tasks = qs.tasks.FewShot(data(), ways=3, shots=2, queries=4, augment=lambda inputs, keys: inputs + 1)
    bank = tasks.bank(20)
    assert embedded_once(solver, bank, torch.arange(20)) == (solver, bank)


def test_few_tasks_of_many_rows_are_embedded_as_they_come() -> None:
    net = Counting(False)
    tasks = qs.tasks.FewShot(data(40, 10), ways=3, shots=2, queries=4)
    qs.evaluate(qs.learners.ProtoNet(net), tasks, 2)
    assert net.rows <= 2 * 18


def test_the_learner_itself_keeps_its_net() -> None:
    net = Counting(False)
    solver = qs.learners.ProtoNet(net)
    qs.evaluate(solver, qs.tasks.FewShot(data(), ways=3, shots=2, queries=4), 60)
    assert solver.net is net


@pytest.mark.parametrize("ways", [3, (2, 4)])
def test_rows_of_several_tensors_are_embedded_once_too(ways: int | tuple[int, int]) -> None:
    solver = qs.learners.ProtoNet(Reader()).eval()
    bank = qs.tasks.FewShot(sentences(), ways=ways, shots=2, queries=3).bank(40)
    assert embedded_once(solver, bank, torch.arange(40))[0] is not solver
    augmented = qs.tasks.FewShot(sentences(), ways=ways, shots=2, queries=3, augment=lambda inputs, keys: inputs)
    assert embedded_once(solver, augmented.bank(40), torch.arange(40))[0] is solver
    once, task_by_task = qs.evaluate(solver, bank, 40), qs.evaluate(solver, augmented, 40)
    torch.testing.assert_close(torch.tensor(once.values), torch.tensor(task_by_task.values))
