"""Tasks of items: what is refused, and what splits keep apart."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstudy.datasets import TaskData
from quickstudy.errors import InputError

ITEMS = torch.arange(20.0).reshape(10, 2)
TASKS: dict[str, Any] = {
    "ann": ([0, 1, 2, 3], [1, 0, 1, 0]),
    "bob": ([3, 2], [0, 1]),
    "cyn": ([9, 8, 7], [2, 2, 0]),
    "dan": ([5, 1], [1, 1]),
}
TOWNS = {"town": ["x", "x", "y", "z"]}


def people(**options: Any) -> TaskData:
    return TaskData(ITEMS, TASKS, "people", TOWNS, **options)


def lines(data: TaskData) -> dict[str, list[tuple[int, float]]]:
    """Return the (item, target) pairs of each task, read one by one."""
    found = {}
    for name, start, size in zip(data.names, data.starts.tolist(), data.sizes.tolist(), strict=True):
        part = slice(start, start + size)
        found[name] = list(zip(data.rows[part].tolist(), data.targets[part].tolist(), strict=True))
    return found


def test_what_goes_in_comes_out() -> None:
    data = people()
    assert lines(data) == {name: list(zip(*pair, strict=True)) for name, pair in TASKS.items()}
    assert (len(data), data.count, data.ways) == (4, 10, 3)
    assert repr(data) == (
        "TaskData(people: 4 tasks, 11 rows of 10 items of shape (2,), 3 classes, attributes ['town'])"
    )


@pytest.mark.parametrize(
    ("targets", "kind", "ways"),
    [
        ([[True, False], [True]], torch.int64, 2),
        ([[1, 0], [3]], torch.int64, 4),
        ([[1, 0], [0.5]], torch.float32, None),
        ([np.zeros((2, 3)), np.ones((1, 3))], torch.float32, None),
    ],
)
def test_targets_are_classes_numbers_or_vectors(targets: Any, kind: torch.dtype, ways: int | None) -> None:
    data = TaskData(ITEMS, {"a": ([0, 1], targets[0]), "b": ([1], targets[1])})
    assert (data.targets.dtype, data.ways) == (kind, ways)
    assert len(data.targets) == 3


def test_items_may_be_pytrees() -> None:
    data = TaskData({"ids": np.arange(10), "size": np.ones((10, 3))}, TASKS)
    assert "items of shape {'ids': (), 'size': (3,)}" in repr(data)
    assert data.to("cpu").fingerprint == data.fingerprint


def test_a_long_table_says_the_same() -> None:
    order = np.random.default_rng(0).permutation(11)
    table = [(name, *pair) for name, task in lines(people()).items() for pair in task]
    task, rows, targets = (np.array(column)[order] for column in zip(*table, strict=True))
    data = TaskData.table(ITEMS, task, rows, targets, "people", times=np.arange(11.0)[order])
    assert data.names == ("ann", "bob", "cyn", "dan")
    assert {name: sorted(pairs) for name, pairs in lines(data).items()} == {
        name: sorted(pairs) for name, pairs in lines(people()).items()
    }
    assert data.times is not None
    times = {(name, item): i for i, (name, item, _) in enumerate(table)}
    named = [name for name, size in zip(data.names, data.sizes.tolist(), strict=True) for _ in range(size)]
    assert data.times.tolist() == [times[key] for key in zip(named, data.rows.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": ["a", "b"]}, r"rows are \(3,\), for 2 lines"),
        ({"rows": [0, 1]}, r"rows are \(2,\), for 3 lines"),
        ({"targets": [0, 1, 1, 0]}, r"targets are \(4,\), for 3 lines"),
        ({"times": [1, 2, 3, 4]}, r"times are \(4,\), for 3 lines"),
        ({"task": "a"}, r"task must be \(E,\), with at least one line, not \(\)"),
        ({"task": [], "rows": [], "targets": []}, r"at least one line, not \(0,\)"),
        ({"task": ["a", None, "b"]}, "task holds NoneType, str; use strings or integers"),
        ({"task": [1.0, float("nan"), 2.0]}, "task is NaN in line 1"),
    ],
)
def test_columns_of_a_table_are_of_one_length_and_lines_have_a_task(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TaskData.table(ITEMS, **({"task": ["a", "b", "a"], "rows": [0, 1, 2], "targets": [0, 1, 1]} | changes))


def test_times_keep_all_their_digits() -> None:
    seconds = 1.7e9 + np.arange(10.0)  # in single precision they are all equal
    of_rows = {name: seconds[np.array(task[0])] for name, task in TASKS.items()}
    for times in (seconds, seconds.tolist(), of_rows):
        found = people(times=times).times
        assert found is not None
        assert found.tolist() == seconds[people().rows].tolist()
    table = TaskData.table(ITEMS, [0, 0, 0], [5, 6, 7], [0, 1, 1], times=seconds[5:8]).times
    assert table is not None
    assert table.tolist() == seconds[5:8].tolist()


def test_times_are_of_items_or_of_rows() -> None:
    of_items = people(times=np.arange(10.0) * 2)
    assert of_items.times is not None
    assert torch.equal(of_items.times, 2.0 * of_items.rows)
    of_rows = people(times={"ann": [1, 2, 3, 4], "bob": [5, 6], "cyn": [7, 8, 9], "dan": [10, 11]})
    assert of_rows.times is not None
    assert of_rows.times.tolist() == list(range(1, 12))
    assert of_rows.subset(["dan", "bob"]).times.tolist() == [10, 11, 5, 6]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {}}, "at least one pair"),
        ({"tasks": {"a": [1, 2, 3]}}, "task 'a' must be a pair"),
        ({"tasks": {"a": ([0, 1], [1])}}, r"'a' has 2 rows and targets \(1,\)"),
        ({"tasks": {"a": ([0.5], [1])}}, "rows of task 'a' must be"),
        ({"tasks": {"a": ([True, False], [1, 0])}}, "rows of task 'a' must be .*bool"),
        ({"tasks": {"a": ([0], [1]), "b": ([], [])}}, "'b' has no rows"),
        (
            {"tasks": {"a": ([0], [1]), "b": ([2, 10], [0, 1])}},
            r"'b' names an item outside 0\.\.9 \(its row 1: item 10",
        ),
        ({"tasks": {"a": ([-1], [1])}}, "'a' names an item outside"),
        ({"tasks": {"a": ([0, 4, 0], [1, 0, 1])}}, r"'a' has an item twice.* row 2: item 0"),
        ({"tasks": {"a": ([0], [1.0]), "b": ([1, 2], [0.0, float("nan")])}}, r"'b' has a target .* row 1: item 2"),
        ({"tasks": {"a": ([0], [-1])}}, "'a' has a negative class number"),
        ({"tasks": {"a": ([0], [[1.0]]), "b": ([0], [1.0])}}, r"'b' has shape \(\) and one of the first task \(1,\)"),
        ({"tasks": {"a": ([0], [[1, 2]])}}, "vectors are floats"),
        ({"attributes": {"town": ["x"]}}, "'town' has 1 values for 4 tasks"),
        ({"times": [1.0]}, r"times must be \(10,\)"),
        ({"times": {"ann": [1, 2, 3, 4]}}, "times lack task 'bob'"),
        ({"times": {key: [1, 2] for key in TASKS}}, r"'ann' has 4 rows and times \(2,\)"),
        ({"times": [float("nan")] + [0.0] * 9}, "time that is NaN"),
        ({"items": torch.full((10, 1), float("inf"))}, "items hold NaN or infinity"),
        ({"items": {"a": torch.zeros(10), "b": torch.zeros(9)}}, r"items\['b'\] has 9 rows"),
    ],
)
def test_mistakes_name_the_task(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TaskData(**({"items": ITEMS, "tasks": TASKS} | changes))


def test_a_subset_is_in_the_order_given_and_keeps_the_classes() -> None:
    part = people().subset(["bob", "ann"], "two")
    assert list(lines(part)) == ["bob", "ann"]
    assert lines(part) == {name: lines(people())[name] for name in ("bob", "ann")}
    assert part.attributes == {"town": ("x", "x")}
    assert (part.name, part.ways) == ("two", 3)
    assert part.items is part.subset([0]).items
    with pytest.raises(InputError, match="did you mean 'bob'"):
        part.subset(["bo"])
    with pytest.raises(InputError, match=r"no task number 2; tasks are numbered 0\.\.1"):
        part.subset([2])
    with pytest.raises(InputError, match="tasks repeats a task"):
        part.subset([0, -2])
    with pytest.raises(InputError, match="repeats"):
        part.subset([0, 0])


def test_the_fingerprint_depends_on_all_that_tasks_hold() -> None:
    changed = [
        people(),
        TaskData(ITEMS + 1, TASKS),
        TaskData(ITEMS, {**TASKS, "dan": ([5, 2], [1, 1])}),
        TaskData(ITEMS, {**TASKS, "dan": ([5, 1], [1, 0])}),
        TaskData(ITEMS, {"Ann" if name == "ann" else name: pair for name, pair in TASKS.items()}),
        people(times=np.arange(10.0)),
        people().subset(["ann", "bob"]),
    ]
    assert len({data.fingerprint for data in changed}) == len(changed)
    assert people().fingerprint == people().fingerprint


@st.composite
def random_data(draw: st.DrawFn) -> TaskData:
    count = draw(st.integers(3, 30))
    tasks = {}
    for i in range(draw(st.integers(3, 12))):
        rows = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8, unique=True))
        tasks[f"t{i}"] = (rows, [float(row) for row in rows])
    return TaskData(torch.zeros(count, 1), tasks, attributes={"lab": [f"l{i % 3}" for i in range(len(tasks))]})


@settings(max_examples=60, deadline=None)
@given(data=random_data(), seed=st.integers(0, 9), by=st.sampled_from([None, "lab"]))
def test_parts_have_disjoint_tasks_and_lose_nothing(data: TaskData, seed: int, by: str | None) -> None:
    parts = data.split(by, seed=seed)
    merged: dict[str, Any] = {}
    for part in parts:
        assert not set(merged) & set(part.names)
        merged |= lines(part)
    assert merged == lines(data)
    assert [part.names for part in parts] == [part.names for part in data.split(by, seed=seed)]
    if by:
        seen = [set(part.attributes["lab"]) for part in parts]
        assert sum(map(len, seen)) == len(set.union(*seen))


@settings(max_examples=100, deadline=None)
@given(data=random_data(), seed=st.integers(0, 9))
def test_parts_with_disjoint_items_are_the_plain_reading(data: TaskData, seed: int) -> None:
    plain = data.split(seed=seed)
    later: set[int] = set()
    expected: list[dict[str, Any]] = []
    for part in reversed(plain):
        kept = {name: [pair for pair in pairs if pair[0] not in later] for name, pairs in lines(part).items()}
        expected.insert(0, {name: pairs for name, pairs in kept.items() if pairs})
        later |= {item for pairs in kept.values() for item, _ in pairs}
    if all(expected):
        parts = data.split(seed=seed, disjoint_items=True)
        assert [lines(part) for part in parts] == expected
        assert lines(parts[-1]) == lines(plain[-1])
    else:
        with pytest.raises(InputError, match=r"disjoint_items leaves nothing of part \d: all \d+ rows"):
            data.split(seed=seed, disjoint_items=True)


def test_split_by_hand() -> None:
    parts = people().split(tasks=[["dan", "ann"], ["bob"]])
    assert [part.names for part in parts] == [("dan", "ann"), ("bob",)]
    apart = people().split(tasks=[["dan", "ann"], ["bob"]], disjoint_items=True)
    assert lines(apart[0]) == {"dan": [(5, 1), (1, 1)], "ann": [(0, 1), (1, 0)]}
    with pytest.raises(InputError, match="'bob' is in the parts of the split twice"):
        people().split(tasks=[["bob"], ["ann", "bob"]])
    with pytest.raises(InputError, match="unknown attribute 'twn'"):
        people().split(by="twn")
    with pytest.raises(InputError, match="cannot fill 3 parts"):
        people().subset(["ann", "bob"]).split()


def test_thousands_of_tasks_of_a_million_rows_are_no_burden() -> None:
    """It is vectorised: a loop over rows would take a minute."""
    generator = np.random.default_rng(0)
    count, tasks = 20_000, 4_000
    task = np.repeat(np.arange(tasks), 250)
    rows = np.concatenate([generator.choice(count, 250, replace=False) for _ in range(tasks)])
    began = time.perf_counter()
    data = TaskData.table(np.zeros((count, 1), "float32"), task, rows, generator.normal(size=len(rows)))
    parts = data.split(seed=0, disjoint_items=False)
    assert sum(len(part.rows) for part in parts) == 1_000_000
    assert data.fingerprint
    assert time.perf_counter() - began < 10
