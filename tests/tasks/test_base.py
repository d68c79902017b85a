"""A stream can be entered anywhere, and is planned ahead where it is drawn in order."""

from collections.abc import Callable

import pytest
import torch

import quickstudy as qs
from quickstudy.operators import trees
from quickstudy.tasks import base


def few_shot(seed: int = 0) -> qs.tasks.FewShot:
    data = qs.datasets.arrays(torch.arange(120.0).reshape(60, 2), torch.arange(12).repeat_interleave(5))
    return qs.tasks.FewShot(data, ways=(2, 3), shots=2, queries=2, seed=seed)


def given_tasks() -> qs.tasks.FromTaskData:
    tasks = {f"t{i}": (range(i, i + 9), [0, 1, 1] * 3) for i in range(5)}
    return qs.tasks.FromTaskData(qs.datasets.TaskData(torch.arange(40.0).reshape(20, 2), tasks), (1, 3), 4, "balanced")


STREAMS = [few_shot, given_tasks]


def same(a: qs.Task, b: qs.Task) -> bool:
    pairs = zip(trees.leaves(a), trees.leaves(b), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize(("size", "make"), [(1, few_shot), *((size, make) for size in (3, 200) for make in STREAMS)])
def test_drawn_in_order_or_out_of_order_tasks_are_the_same(
    size: int, make: Callable[[], qs.tasks.TaskDistribution]
) -> None:
    stream = make()
    for start in range(0, 1200, size):
        assert same(stream.batch(start, size), make().batch(start, size))


def test_plans_many_tasks_at_once_where_draws_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, planned = few_shot(), []
    whole = stream.plan
    monkeypatch.setattr(stream, "plan", lambda indices: planned.append(len(indices)) or whole(indices))
    for start in range(0, 40, 4):
        stream.batch(start, 4)
    assert planned == [4, base.AHEAD]


def test_other_processes_may_take_tasks_between() -> None:
    stream = few_shot()
    for start in range(0, 200, 8):
        assert same(stream.batch(start, 4), few_shot().batch(start, 4))


def test_a_changed_distribution_is_planned_anew() -> None:
    stream = few_shot()
    stream.batch(0, 4), stream.batch(4, 4)
    stream.seed = 1
    assert same(stream.batch(8, 4), few_shot(seed=1).batch(8, 4))
    stream.queries = 1
    assert stream.batch(12, 4).query.labels.shape == (4, 3)
    assert same(stream.batch(0, 4), stream.batch(0, 4))


@pytest.mark.parametrize("make", STREAMS)
def test_a_bank_is_read_in_order_to_its_end(make: Callable[[], qs.tasks.TaskDistribution]) -> None:
    bank = make().bank(10)
    parts = [bank.batch(start, 5) for start in (0, 5)]
    assert same(qs.batching.select(bank.batch(0, 10), slice(5, 10)), parts[1])
