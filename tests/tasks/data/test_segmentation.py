"""Segmentation tasks, and a learner that does them."""

import pytest
import torch

import quickstudy as qs
from quickstudy.batching import select
from quickstudy.errors import InputError


def shapes(classes=6, each=6, size=12):
    """Images of noise with a patch whose colour is the class's, and the patch's mask."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(classes, 3, 1, 1, generator=generator)
    labels = torch.arange(classes).repeat_interleave(each)
    inputs = 0.2 * torch.rand(len(labels), 3, size, size, generator=generator)
    targets = torch.zeros(len(labels), size, size, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        top, left = torch.randint(0, size - 5, (2,), generator=generator).tolist()
        inputs[row, :, top : top + 5, left : left + 5] = colours[label]
        targets[row, top : top + 5, left : left + 5] = 1
    return qs.datasets.ClassData(inputs, labels, tuple(f"colour {c}" for c in range(classes)), targets=targets)


def test_task_is_of_one_class_with_masks():
    task = qs.tasks.Segmentation(shapes(), shots=2, queries=3).batch(0, 4)
    assert task.support.labels.shape == (4, 2, 12, 12)
    assert task.query.inputs.shape == (4, 3, 3, 12, 12)
    assert task.support.ways == 2
    assert (task.query.labels.sum((2, 3)) == 25).all()


def test_iou_by_hand():
    tasks = qs.tasks.Segmentation(shapes(), shots=1, queries=2)

    class Left(qs.Learner):
        def adapt(self, support):
            return ()

        def predict(self, state, inputs):
            logits = torch.zeros(len(inputs), 2, 12, 12)
            logits[:, 1, :, :6] = 1
            return logits

    report = qs.evaluate(Left(), tasks, 3)
    bank = tasks.bank(3)
    for index, value in enumerate(report.values):
        wanted = select(bank.batch(index, 1), 0).query.labels.bool()
        given = torch.zeros(2, 12, 12, dtype=torch.bool)
        given[:, :, :6] = True
        assert value == pytest.approx(float((given & wanted).sum() / (given | wanted).sum()))
    assert report.metric == "iou"


def test_maml_learns_to_segment():
    tasks = qs.tasks.Segmentation(shapes(), shots=2, queries=2)
    learner = qs.learners.MAML(qs.nets.fcn(3, 8, depth=2), lr=0.5, steps=2)
    before = qs.evaluate(learner, tasks, 20).mean
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=1e-2), steps=25, meta_batch=4, progress=False)
    assert qs.evaluate(learner, tasks, 20).mean > max(0.6, before + 0.2)


def test_data_without_masks_are_refused(blobs):
    with pytest.raises(InputError, match="no masks"):
        qs.tasks.Segmentation(blobs)
