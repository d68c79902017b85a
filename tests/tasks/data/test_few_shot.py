"""Episodes: what is drawn, how it is padded, and what is refused."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import quickstudy as qs
from quickstudy import Task, batching
from quickstudy.datasets import ClassData
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.tasks import FewShot
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def numbered(counts: list[int], **options: Any) -> ClassData:
    """Return data whose only input is the row number, so that a task tells what was drawn."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    inputs = torch.arange(len(labels), dtype=torch.float32).unsqueeze(1)
    return ClassData(inputs, labels, tuple(f"c{i}" for i in range(len(counts))), **options)


def parts(data: ClassData, task: Task) -> Iterator[tuple[list[int], list[int], list[int], list[int]]]:
    """Yield support rows, their labels, query rows and their labels of each task, without padding."""
    for i in range(batching.count(task)):
        one = batching.select(task, i)
        found = []
        for rows in (one.support, one.query):
            keep = torch.ones(len(rows), dtype=torch.bool) if rows.mask is None else rows.mask
            found += [rows.inputs[keep, 0].long().tolist(), rows.labels[keep].tolist()]
        yield tuple(found)  # type: ignore[misc]


def test_rows_are_distinct_and_of_the_class_of_their_label() -> None:
    data = numbered([7, 9, 8, 10, 12, 7])
    tasks = FewShot(data, ways=4, shots=3, queries=2)
    for support, s_labels, query, q_labels in parts(data, tasks.batch(0, 200)):
        assert len(set(support + query)) == len(support + query) == 4 * 5
        classes: dict[int, set[int]] = {}
        for row, label in zip(support + query, s_labels + q_labels, strict=True):
            classes.setdefault(label, set()).add(int(data.labels[row]))
        assert sorted(classes) == [0, 1, 2, 3]
        assert all(len(each) == 1 for each in classes.values())
        assert len(set.union(*classes.values())) == 4
        assert sorted(s_labels) == sorted([0, 1, 2, 3] * 3)
        # Shot by shot, so that any leading part is balanced.
        assert s_labels[:4] == [0, 1, 2, 3]


def test_stream_is_seekable() -> None:
    tasks = FewShot(DATA, ways=(2, 4), shots=(1, 3), queries=2)
    ahead, whole = tasks.batch(5, 3), tasks.batch(0, 6)
    for a, b in zip(
        trees.leaves(batching.select(ahead, 0)),
        trees.leaves(batching.select(whole, 5)),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert torch.equal(tasks.draw(torch.tensor([5, 0])).support.inputs[1], whole.support.inputs[0])
    other = FewShot(DATA, ways=(2, 4), shots=(1, 3), queries=2, seed=1)
    assert not torch.equal(other.batch(0, 6).support.inputs, whole.support.inputs)


def test_known_task() -> None:
    """Published results depend on the stream: it must never change."""
    plan = FewShot(numbered([10] * 8), ways=3, shots=1, queries=1).plan(torch.tensor([0, 7]))
    assert plan["support"].flatten().tolist() == KNOWN_SUPPORT
    assert plan["query"].flatten().tolist() == KNOWN_QUERY


KNOWN_SUPPORT = [30, 68, 56, 11, 66, 74]
KNOWN_QUERY = [32, 60, 53, 10, 64, 71]


def test_classes_examples_and_places_are_uniform() -> None:
    data = numbered([5] * 6)
    plan = FewShot(data, ways=3, shots=1, queries=2).plan(torch.arange(6000))

    def even(rows: Tensor, kinds: int) -> None:
        assert stats.chisquare(torch.bincount(rows.flatten(), minlength=kinds).double().numpy()).pvalue > 1e-3

    for place in range(3):
        even(plan["support"][..., place], 30)
        even(plan["support"][..., place] // 5, 6)
        even(plan["query"][:, 0, place], 30)
        even(plan["query"][:, 1, place], 30)


def test_ways_and_shots_vary_uniformly_and_are_masked() -> None:
    data = numbered([12] * 8)
    tasks = FewShot(data, ways=(2, 5), shots=(1, 4), queries=3)
    batch = tasks.batch(0, 2000)
    assert batch.support.inputs.shape == (2000, 20, 1)
    assert batch.support.ways == 5
    ways, shots = [0] * 6, [0] * 5
    for support, s_labels, query, q_labels in parts(data, batch):
        n = len(set(s_labels))
        k = len(support) // n
        assert sorted(s_labels) == sorted(list(range(n)) * k)
        assert sorted(q_labels) == sorted(list(range(n)) * 3)
        assert len(set(support + query)) == len(support + query)
        ways[n] += 1
        shots[k] += 1
    assert stats.chisquare(ways[2:]).pvalue > 1e-3
    assert stats.chisquare(shots[1:]).pvalue > 1e-3
    # Padding repeats rows of the same task, so that nothing strange enters batch statistics.
    one = batching.select(batch, 0)
    assert set(one.support.inputs.flatten().tolist()) <= set(one.support.inputs[one.support.mask].flatten().tolist())


def test_fixed_shapes_have_no_mask() -> None:
    batch = FewShot(DATA, ways=3, shots=2, queries=4).batch(0, 2)
    assert batch.support.mask is None
    assert batch.query.mask is None


def test_short_classes_give_fewer_queries() -> None:
    data = numbered([3, 9, 9])
    batch = FewShot(data, ways=3, shots=2, queries=5).batch(0, 50)
    assert batch.support.mask is None
    for support, _, query, q_labels in parts(data, batch):
        assert not set(support) & set(query)
        counts = {int(data.labels[row]): 0 for row in query}
        for row in query:
            counts[int(data.labels[row])] += 1
        assert counts == {0: 1, 1: 5, 2: 5}
        assert len(q_labels) == 11


@pytest.mark.parametrize("ways", [2, (2, 4), "all"])
def test_classes_within_one_group(ways: Any) -> None:
    groups = ("a", "a", "b", "b", "b", "b", "a", "c")
    data = numbered([6] * 8, attributes={"kind": groups})
    seen: dict[str, set[int]] = {}
    for support, s_labels, *_ in parts(data, FewShot(data, ways, 1, 2, within="kind").batch(0, 300)):
        classes = {int(data.labels[row]) for row in support}
        kinds = {groups[c] for c in classes}
        assert len(kinds) == 1
        kind = kinds.pop()
        assert len(classes) == len(s_labels)
        seen.setdefault(kind, set()).add(len(classes))
        if ways == "all":
            assert len(classes) == groups.count(kind)
    if ways == "all":
        assert seen == {"a": {3}, "b": {4}, "c": {1}}
    else:
        assert set(seen) == {"a", "b"}
        assert seen["b"] == ({2} if ways == 2 else {2, 3, 4})
        assert seen["a"] == ({2} if ways == 2 else {2, 3})


def test_disjoint_sources() -> None:
    source = torch.arange(8).repeat(5)
    data = numbered([8] * 5, source=source)
    tasks = FewShot(data, ways=3, shots=2, queries=3, disjoint_sources=True)
    together = 0
    for support, s_labels, query, q_labels in parts(data, tasks.batch(0, 300)):
        assert not {int(source[row]) for row in support} & {int(source[row]) for row in query}
        assert len(set(support + query)) == len(support + query)
        assert len(s_labels) == 6
        assert set(q_labels) == {0, 1, 2}
        together += len(query) == 9
    assert together > 0


def test_disjoint_sources_need_enough_of_them() -> None:
    with pytest.raises(InputError, match="know their sources"):
        FewShot(numbered([5] * 5), ways=2, disjoint_sources=True)
    with pytest.raises(InputError, match="from 1 source"):
        FewShot(
            numbered([4] * 3, source=torch.tensor([0, 0, 0, 0] + [0, 1, 0, 1] * 2)), ways=2, queries=1,
            disjoint_sources=True,
        )  # fmt: skip


def test_bytes_become_fractions_and_augmentation_depends_on_the_task_alone() -> None:
    data = ClassData(torch.full((20, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(2).repeat(10), ("a", "b"))
    plain = FewShot(data, ways=2, queries=2)
    assert float(plain.batch(0, 1).support.inputs.max()) == 1.0

    def shift(inputs: Tensor, keys: Tensor) -> Tensor:
        return inputs + qs.functional.random.uniform(keys).reshape(-1, 1, 1, 1, 1)

    moved = FewShot(data, ways=2, queries=2, augment=shift)
    first = moved.batch(3, 2)
    assert torch.equal(first.support.inputs, moved.batch(3, 2).support.inputs)
    assert torch.equal(first.support.inputs[1], moved.batch(4, 1).support.inputs[0])
    assert float(first.support.inputs.min()) >= 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 13}, "ways=13 needs 13 classes but the data have 12"),
        ({"ways": 0}, "ways must be a positive number"),
        ({"ways": (3, 2)}, "ways must be a positive number or a range"),
        ({"ways": "all"}, "together with within"),
        ({"ways": "some", "within": "group"}, "give a number"),
        ({"shots": 0}, "shots must be a positive number"),
        ({"shots": 10}, "class 'class00' has 10 examples but shots=10 and a query need 11"),
        ({"ways": 2.5}, "ways must be a positive number or a range"),
        ({"ways": (2, 3, 4)}, "ways must be a positive number or a range"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"queries": 1.5}, "queries must be a whole number"),
        ({"within": "groups"}, "unknown attribute 'groups'; did you mean 'group'"),
        ({"within": "group", "ways": 5}, "the largest group of 'group' has 4"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FewShot(DATA, **options)


def test_data_and_numbers_of_numpy() -> None:
    assert FewShot(DATA, ways=np.int64(3), shots=[1, 2]).describe()["ways"] == [3, 3]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data must be ClassData, not ndarray; make it with datasets\.arrays"):
        FewShot(np.zeros((3, 2)))  # type: ignore[arg-type]


def test_describe_and_repr() -> None:
    tasks = FewShot(DATA, ways=(2, 3), within="group")
    assert tasks.describe()["ways"] == [2, 3]
    assert "within=group" in repr(tasks)
    assert tasks.classes == DATA.classes
    assert tasks.fingerprint == DATA.fingerprint


def test_disjoint_sources_where_classes_have_few_of_them() -> None:
    """Classes from 2 of 8 sources: sides stay disjoint, and a class without one side is padding."""
    labels = torch.arange(20).repeat_interleave(4)
    source = (labels * 3 + torch.arange(80) % 2) % 8
    data = ClassData(torch.arange(80.0).unsqueeze(1), labels, tuple(f"c{i}" for i in range(20)), source=source)
    task = FewShot(data, ways=5, shots=1, queries=2, disjoint_sources=True).batch(0, 50)
    assert task.support.mask is not None
    assert task.query.mask is not None
    assert not bool(task.support.mask.all())
    for i in range(50):
        shown, asked = task.support.mask[i], task.query.mask[i]
        support = source[task.support.inputs[i, shown, 0].long()]
        query = source[task.query.inputs[i, asked, 0].long()]
        assert set(support.tolist()).isdisjoint(query.tolist())
        assert set(task.query.labels[i, asked].tolist()) <= set(task.support.labels[i, shown].tolist())
