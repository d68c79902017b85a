"""Learners whose nets read pytrees are trained, evaluated, stored and read like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import NonFiniteError
from quickstudy.operators import trees
from quickstudy.storage.checkpoint import load_checkpoint
from quickstudy.testing import check_learner
from tests.helpers.several import Both, Reader, pictures, sentences

LEARNERS: dict[str, Callable[[], qs.Learner]] = {
    "ProtoNet": lambda: qs.learners.ProtoNet(Reader(60)),
    "MAML": lambda: qs.learners.MAML(Reader(60, 3), lr=0.5, steps=2),
    "ANIL": lambda: qs.learners.ANIL(Reader(60, 3), lr=0.5, steps=2),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_training_on_ids_and_masks_learns(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    learner = LEARNERS[name]()
    train, val, _ = sentences(30, 6, words=60).split(seed=0)
    tasks, held_out = (qs.tasks.FewShot(part, ways=3, shots=2, queries=2) for part in (train, val))
    before = qs.evaluate(learner, tasks, 30).mean
    run = qs.meta_train(
        learner,
        tasks,
        outer=qs.outer.Gradient(lr=1e-2),
        validation=held_out,
        steps=20,
        meta_batch=4,
        validation_tasks=4,
        run_dir=tmp_path / "run",
        progress=False,
        compile=False,
    )
    assert qs.evaluate(learner, tasks, 30).mean > before
    again = qs.load(tmp_path / "run", LEARNERS[name](), "last")
    state = learner.state_dict()
    assert all(torch.equal(state[key], value) for key, value in again.state_dict().items())
    assert run is not None


def test_the_promises_hold_for_pytrees() -> None:
    batch = qs.tasks.FewShot(sentences(), ways=3, shots=2, queries=2).batch(0, 1)
    task = qs.batching.select(batch, 0)
    ids = qs.Task(*(qs.Examples(rows.inputs, rows.labels, rows.mask, 3) for rows in (task.support, task.query)))
    for make in LEARNERS.values():
        check_learner(make(), ids)


def test_an_image_beside_numbers(tmp_path: Path) -> None:
    tasks = qs.tasks.FewShot(pictures(), ways=3, shots=1, queries=2)
    learner = qs.learners.ProtoNet(Both())
    qs.meta_train(learner, tasks, steps=3, meta_batch=2, progress=False, compile=False)
    assert 0 <= qs.evaluate(learner, tasks, 10).accuracy <= 1


def test_the_batched_loss_is_that_of_each_task() -> None:
    torch.manual_seed(0)
    learner = qs.learners.MAML(Reader(outputs=4), lr=0.5, steps=2)
    batch = qs.tasks.FewShot(sentences(), ways=(2, 4), shots=(1, 2), queries=2).batch(0, 5)
    loss = qs.batching.map_tasks(lambda task: learner.loss(learner.adapt(task.support), task.query), batch)
    for i in range(5):
        task = qs.batching.select(batch, i)
        torch.testing.assert_close(loss[i], learner.loss(learner.adapt(task.support), task.query))


@pytest.mark.parametrize("data", [sentences(), pictures()], ids=lambda data: data.name)
def test_tasks_that_fail_are_stored_whatever_their_inputs_are(data: qs.datasets.ClassData, tmp_path: Path) -> None:
    net = Reader() if data.name == "sentences" else Both()
    torch.nn.init.constant_(next(net.parameters()), float("nan"))
    tasks = qs.tasks.FewShot(data, ways=3, shots=1, queries=2)
    with pytest.raises(NonFiniteError, match="saved with the weights"):
        qs.meta_train(
            qs.learners.ProtoNet(net), tasks, steps=1, run_dir=tmp_path / "run", progress=False, compile=False
        )
    (path,) = (tmp_path / "run").glob("nonfinite-*")
    stored = load_checkpoint(path)["tasks"]["support"]["inputs"]
    drawn = tasks.batch(0, 1).support.inputs
    assert all(torch.equal(a[:1], b) for a, b in zip(trees.leaves(stored), trees.leaves(drawn), strict=True))
