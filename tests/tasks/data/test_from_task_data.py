"""Support and query of given tasks, against a plain reading of what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import quickstudy as qs
from quickstudy.datasets import TaskData
from quickstudy.errors import CheckpointError, InputError
from quickstudy.operators import trees
from quickstudy.tasks import FromTaskData
from quickstudy.tasks.data.from_task_data import stratified
from tests.helpers.several import sentences

COUNT = 60


@st.composite
def tasks_of_items(draw: st.DrawFn, ways: int = 0) -> TaskData:
    """Return tasks of 2 to 20 items; inputs and numbers tell the item, times run backwards for some."""
    seed = draw(st.integers(0, 10_000))
    generator = np.random.default_rng(seed)
    tasks, times = {}, {}
    for i in range(draw(st.integers(1, 6))):
        size = int(generator.integers(2, 21))
        rows = generator.choice(COUNT, size, replace=False)
        tasks[f"t{i}"] = (rows, generator.integers(ways, size=size) if ways else rows + 0.5)
        times[f"t{i}"] = generator.integers(6, size=size)  # with ties
    if ways:  # all classes occur somewhere
        tasks["all"], times["all"] = (np.arange(3 * ways), np.arange(3 * ways) % ways), np.arange(3 * ways)
    return TaskData(np.arange(float(COUNT))[:, None], tasks, times=times)


def plainly(data: TaskData) -> list[list[tuple[int, float, float]]]:
    """Return the (item, target, time) of each task's rows."""
    assert data.times is not None
    rows = list(zip(data.rows.tolist(), data.targets.tolist(), data.times.tolist(), strict=True))
    starts = data.starts.tolist()
    return [rows[start : start + size] for start, size in zip(starts, data.sizes.tolist(), strict=True)]


def drawn(stream: FromTaskData, count: int = 12) -> list[tuple[int, list[tuple[int, Any]], list[tuple[int, Any]]]]:
    """Return the task, and the (item, target) pairs of support and query, of the first draws."""
    plan, batch = stream.plan(torch.arange(count)), stream.batch(0, count)
    found = []
    for i in range(count):
        sides = []
        for rows in (batch.support, batch.query):
            mask = torch.ones(rows.labels.shape[1], dtype=torch.bool) if rows.mask is None else rows.mask[i]
            items = rows.inputs[i, :, 0][mask].long().tolist()
            sides.append(list(zip(items, rows.labels[i][mask].tolist(), strict=True)))
        found.append((int(plan["task"][i]), sides[0], sides[1]))
    return found


SHOTS = st.sampled_from([1, 2, 3, (1, 4), (2, 9)])


@settings(max_examples=150, deadline=None)
@given(
    data=tasks_of_items(3) | tasks_of_items(2) | tasks_of_items(),
    shots=SHOTS,
    queries=st.integers(1, 25),
    support=st.sampled_from(["as-is", "balanced", "stratified", "by-time"]),
    seed=st.integers(0, 99),
)
def test_what_is_drawn_is_a_support_and_a_query_of_one_task(
    data: TaskData, shots: Any, queries: int, support: Any, seed: int
) -> None:
    if data.ways is None and support in ("balanced", "stratified"):
        return
    try:
        stream = FromTaskData(data, shots, queries, support, seed, too_few="leave out")
    except InputError as refusal:
        known_reason = f"{len(data)} of {len(data)} tasks" in str(refusal)
        assert known_reason
        return
    low, high = shots if isinstance(shots, tuple) else (shots, shots)
    tasks = plainly(data)
    for number, known, asked in drawn(stream):
        task = {item: target for item, target, _ in tasks[number]}
        assert all(task[item] == target for item, target in known + asked)
        items = [item for item, _ in known + asked]
        assert len(set(items)) == len(items), "support and query share no item, and neither repeats one"
        classes = [target for _, target in known]
        if data.ways is not None:
            assert {target for _, target in asked} <= set(classes)
        if support == "balanced":
            counts = [classes.count(c) for c in range(data.ways or 0)]
            available = [list(task.values()).count(c) for c in range(data.ways or 0)]
            quota = max(counts)
            assert low <= quota <= high
            assert counts == [min(quota, most) for most in available]
        else:
            assert min(low, len(task) - 1) <= len(known) <= min(high, len(task) - 1)
        if support == "stratified":
            for c in range(data.ways or 0):
                share = len(known) * list(task.values()).count(c) / len(task)
                assert abs(classes.count(c) - share) < 1
        if support == "by-time":
            order = sorted(tasks[number], key=lambda row: row[2])
            assert {item for item, _ in known} == {item for item, _, _ in order[: len(known)]}
        left = [item for item, target in task.items() if item not in dict(known)]
        open_ones = [item for item in left if data.ways is None or task[item] in classes]
        # Those of classes that the support does not show are drawn too, and masked.
        assert min(queries, len(left)) - (len(left) - len(open_ones)) <= len(asked) <= min(queries, len(open_ones))


@given(
    counts=st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3).filter(any), min_size=1, max_size=5),
    rows=st.integers(0, 20),
)
def test_shares_are_those_of_largest_remainders(counts: list[list[int]], rows: int) -> None:
    found = stratified(torch.tensor(counts), torch.full((len(counts),), rows)).tolist()
    for each, quota in zip(counts, found, strict=True):
        exact = [rows * n / sum(each) for n in each]
        assert sum(quota) == rows
        floors = [int(rows * n // sum(each)) for n in each]
        order = sorted(range(3), key=lambda c: (-((rows * each[c]) % sum(each)), c))
        assert quota == [floors[c] + (order.index(c) < rows - sum(floors)) for c in range(3)]
        assert all(abs(a - b) < 1 for a, b in zip(quota, exact, strict=True))


def binary(tasks: int = 4, rows: int = 12) -> TaskData:
    return TaskData(
        np.arange(float(COUNT))[:, None],
        {f"assay {i}": (np.arange(rows) + 5 * i, np.arange(rows) % (i + 2) == 0) for i in range(tasks)},
        "assays",
        times=np.arange(COUNT),
    )


@pytest.mark.parametrize("support", ["as-is", "balanced", "stratified", "by-time"])
def test_a_stream_can_be_entered_anywhere(support: Any) -> None:
    stream = FromTaskData(binary(), (2, 3), 5, support, too_few="leave out")
    whole = stream.batch(0, 40)
    again = FromTaskData(binary(), (2, 3), 5, support, too_few="leave out")
    for start in (0, 7, 33):
        pairs = zip(trees.leaves(again.batch(start, 7)), trees.leaves(whole), strict=True)
        assert all(torch.equal(a, b[start : start + 7]) for a, b in pairs)
    other = FromTaskData(binary(), (2, 3), 5, support, seed=1, too_few="leave out").batch(0, 40)
    assert not torch.equal(other.query.inputs, whole.query.inputs)


def test_all_tasks_and_all_rows_are_drawn_equally_often() -> None:
    data = TaskData(np.arange(8.0)[:, None], {"long": (range(8), np.zeros(8)), "short": ([6, 7, 0, 1], np.zeros(4))})
    stream = FromTaskData(data, 2, 1)
    plan = stream.plan(torch.arange(6000))
    assert stats.chisquare(torch.bincount(plan["task"]).numpy()).pvalue > 1e-3
    for task, size in enumerate((8, 4)):
        own = plan["task"] == task
        for side in ("support", "query"):
            counts = torch.bincount(plan[side][own].flatten() - int(data.starts[task]), minlength=size)
            assert stats.chisquare(counts.numpy()).pvalue > 1e-3, (task, side)


def test_sizes_are_fixed_and_masks_only_where_rows_may_lack() -> None:
    batch = FromTaskData(binary(), 4, 8, "as-is").batch(0, 5)
    assert batch.support.mask is None
    assert batch.support.labels.shape == (5, 4)
    assert batch.support.ways == batch.query.ways == 2
    balanced = FromTaskData(binary(), 2, 8, "balanced").batch(0, 5)
    assert balanced.query.mask is None
    assert balanced.support.labels.tolist() == [[0, 1, 0, 1]] * 5
    assert FromTaskData(binary(), 2, 9, "balanced").batch(0, 5).query.mask is not None


@pytest.mark.parametrize(
    ("support", "shots", "words"),
    [
        ("balanced", 4, r"'assay 2' has 12 rows \(9 of class 0, 3 of class 1\), .*4 of each class.* 2 of 4 tasks"),
        ("stratified", 1, r"'assay 0' .* at least one of each"),
        ("as-is", 12, "'assay 0' has 12 rows .*needs 12, and one more for the query; so it is with 4 of 4"),
        ("by-time", 12, "a later one of a class among them"),
    ],
)
def test_tasks_with_too_few_rows_are_named_or_left_out(support: Any, shots: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FromTaskData(binary(), shots, 2, support)
    if support == "balanced":
        stream = FromTaskData(binary(), shots, 2, support, too_few="leave out")
        assert stream.left_out == stream.describe()["left_out"] == 2
        assert set(stream.plan(torch.arange(50))["task"].tolist()) == {0, 1}
    else:
        with pytest.raises(InputError, match=words):
            FromTaskData(binary(), shots, 2, support, too_few="leave out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"support": "even"}, "unknown support 'even'"),
        ({"too_few": "drop"}, "unknown too_few 'drop'"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"shots": 0}, "shots must be a positive number"),
    ],
)
def test_mistakes(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FromTaskData(binary(), **options)


def test_supports_need_classes_or_times() -> None:
    numbers = TaskData(np.zeros((5, 1)), {"a": (range(5), np.zeros(5))})
    with pytest.raises(InputError, match="'balanced' needs class numbers"):
        FromTaskData(numbers, support="balanced")
    with pytest.raises(InputError, match="'by-time' needs data that know their times"):
        FromTaskData(numbers, support="by-time")
    with pytest.raises(InputError, match="must be TaskData, not ClassData"):
        FromTaskData(sentences())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'assays' have no task"):
        FromTaskData(binary().subset([]))


@pytest.mark.parametrize("metric", ["accuracy", "hits@1", "mrr", "ndcg@1"])
def test_draws_whose_query_is_of_classes_not_shown_count_for_nothing(metric: str) -> None:
    """Each row is of a class of its own, or all are of one: the right answer is known, or there is none to give."""
    items = np.arange(12.0)[:, None]
    data = TaskData(items, {"like": (range(6), [0] * 6), "unlike": (range(6, 12), range(6))})
    bank = FromTaskData(data, 2, 3).bank(30)
    asked = bank.batch(0, 30).query.mask
    assert asked is not None
    assert 0 < int(asked.any(1).sum()) < 30
    report = qs.evaluate(qs.learners.ProtoNet(torch.nn.Identity()), bank, 30, metric=metric)
    assert np.array_equal(np.isnan(report.values), ~asked.any(1).numpy())
    assert (report.mean, len(report.counted)) == (1.0, int(asked.any(1).sum()))


def test_a_bank_is_stored_and_read(tmp_path: Path) -> None:
    stream = FromTaskData(binary(), (2, 4), 5, "stratified", too_few="leave out")
    bank = stream.bank(20)
    bank.save(tmp_path / "bank")
    again = qs.tasks.Bank.load(tmp_path / "bank", FromTaskData(binary(), (2, 4), 5, "stratified", too_few="leave out"))
    pairs = zip(trees.leaves(bank.batch(0, 20)), trees.leaves(again.batch(0, 20)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (tmp_path / "bank").stat().st_size < 20 * (1 + 4 + 5) * 8 + 1000
    with pytest.raises(CheckpointError, match="other data"):
        qs.tasks.Bank.load(tmp_path / "bank", FromTaskData(binary(3), (2, 4), 5, "stratified", too_few="leave out"))
    with pytest.raises(CheckpointError, match="another shape"):
        qs.tasks.Bank.load(tmp_path / "bank", FromTaskData(binary(), (2, 4), 6, "stratified", too_few="leave out"))


@pytest.mark.parametrize("support", ["as-is", "balanced"])
def test_rows_are_embedded_once_with_the_same_figures(support: Any) -> None:
    torch.manual_seed(0)
    learner = qs.learners.ProtoNet(qs.nets.mlp(1, (8,))).eval()
    bank = FromTaskData(binary(), 2, 8, support).bank(40)
    assert qs.evaluation.embedded_once.embedded_once(learner, bank, torch.arange(40))[0] is not learner
    alone = FromTaskData(binary(), 2, 8, support, augment=lambda inputs, keys: inputs).bank(40)
    once, one_by_one = qs.evaluate(learner, bank, 40), qs.evaluate(learner, alone, 40)
    torch.testing.assert_close(torch.tensor(once.values), torch.tensor(one_by_one.values))


def test_train_and_held_out_tasks_must_differ() -> None:
    train, _, test = binary(9).split(seed=0)
    learner = qs.learners.ProtoNet(qs.nets.mlp(1, (8,)))
    stream = FromTaskData(train, 1, 4, "balanced", too_few="leave out")
    held_out = FromTaskData(test, 1, 4, "balanced", too_few="leave out")
    qs.meta_train(
        learner, stream, validation=held_out, steps=2, meta_batch=2, validation_tasks=2, progress=False, compile=False
    )
    with pytest.raises(InputError, match="both in meta-training and in held-out tasks"):
        qs.meta_train(learner, stream, validation=stream, steps=2, progress=False)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_regression_learns_each_task_from_its_rows(shape: tuple[int, ...]) -> None:
    """Each task is a line; ridge regression on its support finds it."""
    generator = np.random.default_rng(0)
    items = generator.normal(size=(COUNT, 3)).astype("float32")
    tasks = {}
    for i in range(10):
        rows = generator.choice(COUNT, 20, replace=False)
        tasks[f"t{i}"] = (rows, items[rows] @ generator.normal(size=(3, *shape)).astype("float32"))
    stream = FromTaskData(TaskData(items, tasks), 12, 10)
    batch = stream.batch(0, 6)
    assert (batch.support.labels.shape, batch.query.labels.shape) == ((6, 12, *shape), (6, 10, *shape))
    assert batch.query.mask is not None
    for i in range(6):
        task = qs.batching.select(batch, i)
        weights = torch.linalg.lstsq(task.support.inputs, task.support.labels.reshape(12, -1)).solution
        asked = task.query.inputs[task.query.mask]
        assert len(asked) == 8
        torch.testing.assert_close(
            asked @ weights, task.query.labels[task.query.mask].reshape(8, -1), rtol=1e-3, atol=1e-4
        )
    if not shape:
        assert qs.evaluate(qs.learners.Ridge(penalty=1e-4), stream, 20).mean < 0.1


def test_items_may_be_pytrees() -> None:
    inputs = sentences().inputs
    data = TaskData(inputs, {"a": (range(20), [0, 1] * 10), "b": (range(20, 48), [0, 1] * 14)})
    batch = FromTaskData(data, 2, 4, "balanced").batch(0, 5)
    plan = FromTaskData(data, 2, 4, "balanced").plan(torch.arange(5))
    for name, leaf in batch.query.inputs.items():
        assert torch.equal(leaf, inputs[name][data.rows[plan["query"]]])
