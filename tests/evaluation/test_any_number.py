"""Any number of tasks has a figure, however many fit at once before and after rows are embedded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.engine import sizes
from quickstudy.engine.ranks import Ranks

DATA = qs.datasets.arrays(np.random.default_rng(0).normal(size=(40, 64)), np.arange(40) % 4)
TASKS = qs.tasks.FewShot(DATA, 3, 1, 10)


class Shared(Ranks):
    """One of several processes, whose gathered results are its own alone."""

    def __init__(self, rank: int, size: int) -> None:
        object.__setattr__(self, "rank", rank)
        object.__setattr__(self, "size", size)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


def learner() -> qs.Learner:
    torch.manual_seed(0)
    return qs.learners.ProtoNet(qs.nets.mlp(64, (8,), 16))


@pytest.mark.parametrize("drawn", [None, 30_000])
def test_every_number_of_tasks_has_a_figure(monkeypatch: pytest.MonkeyPatch, drawn: int | None) -> None:
    """The largest bank says what the first tasks of every smaller one are."""
    if drawn is not None:
        monkeypatch.setattr(sizes, "DRAWN_NUMBERS", drawn)
    net = learner()
    whole = qs.evaluate(net, TASKS, 1001).values
    assert len(whole) == 1001
    counts = [*range(1, 40), *np.random.default_rng(1).integers(40, 1001, 25).tolist(), 470, 500, 512, 600, 700, 1000]
    for count in counts:
        found = qs.evaluate(net, TASKS, count).values
        assert len(found) == count
        np.testing.assert_allclose(found, whole[:count], atol=0.04)


@pytest.mark.parametrize("chunk", [1, 3, 64, 5000])
def test_chunks_that_are_asked_for(chunk: int) -> None:
    whole = qs.evaluate(learner(), TASKS, 50).values
    for count in (1, 2, 3, 49, 50):
        np.testing.assert_allclose(qs.evaluate(learner(), TASKS, count, chunk=chunk).values, whole[:count], atol=0.04)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_processes_share_all_tasks_out(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(sizes, "DRAWN_NUMBERS", 60_000)
    net = learner()
    whole = qs.evaluate(net, TASKS, 300).values
    for count in (1, 2, size, 29, 101, 256, 300):
        parts = [qs.evaluate(net, TASKS, count, ranks=Shared(rank, size)).values for rank in range(size)]
        np.testing.assert_allclose(np.concatenate(parts), whole[:count], atol=0.04)


def test_comparisons_and_gaps_of_any_number() -> None:
    for count in (1, 7, 500, 600):
        reports, (difference,) = qs.compare({"a": learner(), "b": qs.learners.NearestNeighbour()}, TASKS, count)
        assert {len(each.values) for each in reports.values()} == {count}
        assert np.isfinite(difference.mean)
        first, second, gap = qs.overfitting_gap(learner(), TASKS, TASKS, count)
        assert len(first.values) == len(second.values) == count
        assert gap == 0
