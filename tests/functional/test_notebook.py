import re

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.functional import notebook
from quickstudy.learners import MAML, ProtoNet
from quickstudy.nets import mlp

BAD = "<script>alert('&')</script>"


@pytest.fixture
def task():
    data = qs.datasets.glyphs().subset(range(5))
    return qs.tasks.FewShot(data, ways=3, shots=2, queries=1).batch(0, 1)


def one(task):
    return qs.batching.select(task, 0)


def test_a_task_of_images_shows_each_with_what_it_is(task):
    html = one(task)._repr_html_()
    assert html.count("<img") == 9
    assert html.count('alt="Support row') == 6
    assert html.count('alt="Query row') == 3
    assert "label 2" in html
    assert "script" not in html


def test_a_task_of_numbers_shows_a_few():
    rows = qs.Examples(torch.arange(400.0).reshape(100, 4), torch.arange(100) % 4)
    html = qs.Task(rows, rows)._repr_html_()
    assert "<img" not in html
    assert "100 rows, the first 60" in html
    assert html.count("<tr>") == 10


def test_pictures_of_any_range_are_drawn():
    for images in (torch.randn(2, 3, 8, 8) * 100, torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8)):
        assert notebook.examples(images, torch.tensor([0, 1]), BAD).count("<img") == 2


def test_names_are_escaped():
    for html in (
        notebook.table({BAD: BAD}),
        notebook.curve([0, 1], [1, 2], BAD),
        notebook.examples(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), BAD),
        qs.Report("accuracy", np.array([0.5, 1.0]), learner=BAD)._repr_html_(),
    ):
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_runs_and_reports(task, tmp_path):
    tasks = qs.tasks.Sinusoid(shots=3, queries=3)
    run = qs.meta_train(MAML(mlp(1, (4,), 1)), tasks, steps=3, meta_batch=2, progress=False, log_every=1)
    assert re.search(r"<svg role=.img. aria-label=.loss: ", run._repr_html_())
    assert "MAML" in run._repr_html_()
    report = qs.evaluate(run.learner, tasks, 5)
    assert "<th>mse</th>" in report._repr_html_()


def test_nothing_prints_a_dump_of_tensors(task):
    alone = one(task)
    run = qs.Run(ProtoNet(mlp(1, (4,))), [{"step": 1.0, "loss": 0.5}] * 1000)
    reports = [qs.Report("accuracy", np.arange(1000) / 1000, learner="ProtoNet")] * 2
    for value in (task, alone, alone.support, run, reports[0], reports):
        assert len(repr(value)) < 300
        assert "tensor(" not in repr(value)
        assert "array(" not in repr(value)


def test_curves_leave_out_what_is_not_finite():
    assert notebook.curve([0, 1, 2], [1, float("nan"), 3], "loss").count(",") > 1
    assert notebook.curve([0], [1], "loss") == ""
    assert notebook.curve([0, 1], [2, 2], "loss")
