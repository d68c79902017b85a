"""One task again and again, of whatever kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError
from quickstudy.operators import trees
from quickstudy.tasks import OneTask
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp, problem_task, regression_task
from tests.helpers.masked import masked_task


def words() -> qs.Task:
    rows = {"word": torch.arange(6), "picture": torch.randn(6, 2, 3)}
    examples = qs.Examples(rows, torch.arange(6) % 3)
    return qs.Task(examples, examples)


@pytest.mark.parametrize("task", [classification_task(), regression_task(), masked_task(), problem_task(), words()])
def test_every_task_is_the_same(task: qs.Task) -> None:
    stream = OneTask(task)
    batch = stream.batch(5, 3)
    assert type(batch.support) is type(task.support)
    for number in range(3):
        one = qs.batching.select(batch, number)
        leaves, spec = trees.flatten(task)
        found, found_spec = trees.flatten(one)
        assert spec == found_spec
        assert all(torch.equal(a, b) for a, b in zip(leaves, found, strict=True))
    assert len(set(stream.keys(torch.arange(3)).tolist())) == 3


def test_support_and_query_or_a_task() -> None:
    task = classification_task()
    assert OneTask(task.support, task.query).fingerprint == OneTask(task).fingerprint
    for wrong in ((task, task.query), (task.support,), (task.query.inputs, task.query)):
        with pytest.raises(InputError, match=r"give a task, OneTask\(task\)"):
            OneTask(*wrong)


def test_facts() -> None:
    stream = OneTask(regression_task(), name="my series", seed=3)
    assert stream.describe() == {
        "tasks": "OneTask",
        "name": "my series",
        "seed": 3,
        "support": 6,
        "queries": 5,
        "ways": None,
    }
    maps = qs.Examples(torch.zeros(2, 4, 4), torch.zeros(2, 4, 4).long(), ways=2)
    metrics = [OneTask(task).metric for task in (regression_task(), problem_task(), qs.Task(maps, maps))]
    assert metrics == ["mse", "accuracy", "iou"]


def test_the_fingerprint_is_of_all_that_the_task_holds() -> None:
    def changed(task: qs.Task, number: int) -> qs.Task:
        leaves, spec = trees.flatten(task)
        leaves[number] = ~leaves[number] if leaves[number].dtype == torch.bool else leaves[number] + 1
        return trees.unflatten(leaves, spec)  # type: ignore[no-any-return]

    for task in (masked_task(), problem_task()):
        count = len(trees.leaves(task))
        prints = {OneTask(task).fingerprint, *(OneTask(changed(task, i)).fingerprint for i in range(count))}
        assert len(prints) == count + 1
    low = trees.map_leaves(lambda leaf: leaf.bfloat16() if leaf.is_floating_point() else leaf, classification_task())
    assert OneTask(low).fingerprint != OneTask(classification_task()).fingerprint


def test_banks(tmp_path: Path) -> None:
    stream = OneTask(classification_task())
    bank = stream.bank(4)
    bank.save(tmp_path / "bank")
    again = qs.tasks.Bank.load(tmp_path / "bank", OneTask(classification_task()))
    assert torch.equal(again.batch(0, 4).query.inputs, stream.batch(0, 4).query.inputs)
    with pytest.raises(CheckpointError, match="made from other data"):
        qs.tasks.Bank.load(tmp_path / "bank", OneTask(masked_task()))
    assert stream.to("meta").batch(0, 2).support.inputs.device.type == "meta"


def test_a_learner_is_tuned_to_it() -> None:
    """The same task may validate too: it is this one that counts."""
    learner, stream = CLASSIFICATION["MetaSGD"](mlp, WAYS), OneTask(classification_task())
    before = qs.evaluate(learner, stream, tasks=1).mean
    run = qs.meta_train(
        learner,
        stream,
        qs.outer.Gradient(lr=0.05),
        validation=stream,
        steps=30,
        meta_batch=1,
        validation_tasks=1,
        compile=False,
        progress=False,
        device="cpu",
    )
    assert run.best == 1 > before
