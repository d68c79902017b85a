"""Sequential episodes: what is drawn, how it is evaluated, and that a memory learns on it."""

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.tasks.base import Bank


def test_each_class_is_presented_as_often_in_random_order(blobs):
    tasks = qs.tasks.Sequential(blobs, ways=4, presentations=5, seed=1)
    batch = tasks.batch(0, 50)
    assert batch.query.inputs.shape == (50, 20, 4)
    assert batch.support is batch.query
    assert batch.query.ways == 4
    counts = torch.stack([(batch.query.labels == n).sum(1) for n in range(4)], 1)
    assert (counts == 5).all()
    firsts = batch.query.labels[:, 0].bincount(minlength=4)
    assert (firsts > 4).all()
    plan = tasks.plan(torch.arange(50))
    classes = blobs.labels[plan["rows"]]
    for t in range(50):
        assert len(plan["rows"][t].unique()) == 20
        dealt = {(int(label), int(kind)) for label, kind in zip(plan["labels"][t], classes[t], strict=True)}
        assert len(dealt) == 4
    # Labels are dealt anew: over tasks a class has every label.
    assert len(set(plan["labels"][classes == 3].tolist())) == 4


def test_task_is_a_function_of_seed_and_index(blobs):
    tasks = qs.tasks.Sequential(blobs, 3, 4, seed=5)
    late, early = tasks.batch(7, 1), tasks.batch(0, 8)
    assert torch.equal(late.query.inputs[0], early.query.inputs[7])
    assert not torch.equal(qs.tasks.Sequential(blobs, 3, 4, seed=6).batch(0, 1).query.inputs, early.query.inputs[:1])


def test_bank_is_saved_and_loaded(blobs, tmp_path):
    tasks = qs.tasks.Sequential(blobs, 3, 4)
    bank = tasks.bank(6)
    bank.save(tmp_path / "bank")
    again = Bank.load(tmp_path / "bank", tasks)
    assert again.sequential
    assert torch.equal(again.batch(0, 6).query.inputs, bank.batch(0, 6).query.inputs)
    assert bank.describe()["presentations"] == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ways": 13}, "12 of 12 classes"),
        ({"ways": 0}, "ways must"),
        ({"presentations": 11}, "0 of 12 classes"),
        ({"presentations": 0}, "presentations must"),
    ],
)
def test_impossible_sequences_are_refused(blobs, options, text):
    with pytest.raises(InputError, match=text):
        qs.tasks.Sequential(blobs, **options)


def test_classes_with_too_few_examples_take_no_part():
    labels = torch.tensor([0] * 5 + [1] * 2 + [2] * 4)
    data = qs.datasets.ClassData(torch.arange(11.0).unsqueeze(1), labels, ("many", "few", "enough"))
    tasks = qs.tasks.Sequential(data, ways=2, presentations=4)
    assert tasks.describe()["classes"] == 2
    assert set(data.labels[tasks.plan(torch.arange(20))["rows"]].unique().tolist()) == {0, 2}


def test_evaluation_counts_by_presentation(blobs):
    tasks = qs.tasks.Sequential(blobs, 3, 4)
    report = qs.evaluate(qs.learners.NearestNeighbour(), tasks, 40)
    assert report.presentations.shape == (40, 4)
    bank = tasks.bank(40)
    rights = np.zeros((40, 4))
    for t in range(40):
        rows = qs.batching.select(bank.batch(t, 1).query, 0)
        met: dict[int, list[torch.Tensor]] = {}
        for x, label in zip(rows.inputs, rows.labels.tolist(), strict=True):
            near = {n: min(float((x - old).square().sum()) for old in each) for n, each in met.items()}
            guess = min(near, key=near.__getitem__) if near else 0
            rights[t, len(met.get(label, []))] += guess == label
            met.setdefault(label, []).append(x)
    np.testing.assert_allclose(report.presentations, rights / 3)
    np.testing.assert_allclose(report.values, rights[:, 1:].sum(1) / 9)
    assert report.to_json()["presentations"][1]["mean"] == pytest.approx(rights[:, 1].mean() / 3)


def test_comparison_and_drawing_of_the_curve(blobs):
    from quickstudy.reports import plots

    learners = {"near": qs.learners.NearestNeighbour(), "proto": qs.learners.ProtoNet(qs.nets.mlp(4, (8,)))}
    reports, pairs = qs.evaluation.compare(learners, qs.tasks.Sequential(blobs, 3, 4), 20)
    assert len(pairs) == 1
    drawing = plots.svg(plots.presentations(reports), "p", "alt")
    assert "presentation of a class" in drawing
    assert "proto" in drawing


@pytest.mark.parametrize("name", ["mann", "dnc"])
def test_a_memory_learns_to_name_classes_after_one_presentation(name):
    """Eight unlike points, two a sequence: whoever binds labels to inputs is right from the second presentation on."""
    data = qs.datasets.ClassData(
        torch.eye(8).repeat_interleave(4, 0), torch.arange(8).repeat_interleave(4), tuple("abcdefgh")
    )
    tasks = qs.tasks.Sequential(data, ways=2, presentations=3)
    if name == "mann":
        learner = qs.learners.MANN(None, 2, 8, hidden=20, slots=8, width=8, heads=2)
    else:
        learner = qs.learners.DNC(None, 2, 8, hidden=20, slots=8, width=8, read_heads=1)
    before = qs.evaluate(learner, tasks, 100).accuracy
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=1e-2, clip=5.0), steps=250, progress=False, seed=0)
    report = qs.evaluate(learner, tasks, 100)
    assert before < 0.8
    assert report.accuracy > 0.97
