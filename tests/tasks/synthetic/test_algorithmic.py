"""Copying and associative recall: what is shown and wanted, and that memories learn it and hold it longer."""

import itertools

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.registry import lookup


def test_copy_shows_bits_and_a_mark_and_wants_the_bits():
    batch = qs.tasks.Copy(length=(2, 5), bits=3, seed=1).batch(0, 40)
    assert batch.support.inputs.shape == (40, 6, 4)
    lengths = batch.query.mask.sum(1)
    assert set(lengths.tolist()) == {2, 3, 4, 5}
    for t in range(40):
        task = qs.batching.select(batch, t)
        shown = task.support.inputs[task.support.mask]
        assert len(shown) == int(lengths[t]) + 1
        assert torch.equal(shown[:-1, :3].long(), task.query.labels[task.query.mask])
        assert shown[:, 3].tolist() == [0.0] * int(lengths[t]) + [1.0]
        assert not shown[-1, :3].any()
        assert not task.query.inputs.any()
    assert float(batch.query.labels.double().mean()) == pytest.approx(0.5, abs=0.1)


def test_recall_wants_the_item_after_the_one_asked_about():
    batch = qs.tasks.AssociativeRecall(items=(2, 4), rows=2, bits=3, seed=1).batch(0, 40)
    counts = set()
    for t in range(40):
        task = qs.batching.select(batch, t)
        rows = task.support.inputs[task.support.mask]
        starts = (rows[:, 3] == 1).nonzero().flatten().tolist()
        items = [rows[i + 1 : i + 3, :3] for i in starts]
        ends = (rows[:, 4] == 1).nonzero().flatten().tolist()
        assert len(ends) == 2
        assert ends[1] == len(rows) - 1
        asked = rows[ends[0] + 1 : ends[1], :3]
        follows = [b for a, b in itertools.pairwise(items) if torch.equal(a, asked)]
        assert any(torch.equal(item, task.query.labels.float()) for item in follows)
        counts.add(len(items))
    assert counts == {2, 3, 4}


@pytest.mark.parametrize(
    "build",
    [
        lambda: qs.tasks.Copy(length=0),
        lambda: qs.tasks.Copy(bits=0),
        lambda: qs.tasks.AssociativeRecall(items=1),
        lambda: qs.tasks.AssociativeRecall(rows=0),
    ],
)
def test_impossible_algorithms_are_refused(build):
    with pytest.raises(InputError):
        build()


def test_wrong_bits_are_counted():
    """A learner that always answers 1 has half of the bits wrong, padding left out."""

    class Ones(qs.Learner):
        def adapt(self, support):
            return torch.zeros(())

        def predict(self, state, inputs):
            return torch.stack([torch.zeros(len(inputs), 8), torch.ones(len(inputs), 8)], 1)

    tasks = qs.tasks.Copy((1, 20))
    batch = tasks.bank(50).batch(0, 50)
    expected = (batch.query.labels * batch.query.mask.unsqueeze(-1)).sum((1, 2)) / (8 * batch.query.mask.sum(1))
    report = qs.evaluate(Ones(), tasks, 50)
    assert report.accuracy == pytest.approx(float(expected.mean()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "holds"),
    [
        ("copy-ntm", {"length": 8, "slots": 32, "steps": 1500}, 0.01),
        ("copy-dnc", {"length": 8, "slots": 48, "steps": 1200}, 0.01),
        ("recall-ntm", {}, 0.01),
        # It does not hold as well on lists of eight items.
        ("recall-dnc", {}, 0.1),
    ],
)
def test_memories_learn_algorithms_and_hold_them_at_twice_the_length(name, options, holds, tmp_path):
    recipe = lookup("recipe", name).build(**options)
    run = recipe.train(tmp_path, progress=False)
    plan = recipe.plan()
    trained, longer = (1 - qs.evaluate(run.learner, tasks, 200).accuracy for tasks in (plan.validation, plan.test))
    assert trained < 0.01
    assert longer < holds
