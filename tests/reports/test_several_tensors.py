"""Reports of tasks whose rows are several tensors leave out what cannot be drawn, and say so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.reports import sections, sections_classes
from quickstudy.reports.assessment import baseline_reports
from tests.helpers.several import Reader, sentences


def found(metric: str = "accuracy") -> tuple[Any, Any]:
    torch.manual_seed(0)
    tasks = qs.tasks.FewShot(sentences(), ways=3, shots=2, queries=2)
    report = SimpleNamespace(metric=metric, values=np.zeros(5), presentations=(), reliability=())
    run = SimpleNamespace(learner=qs.learners.ProtoNet(Reader()).eval(), test=tasks)
    return SimpleNamespace(run=run, report=report, curve=(), seed=1, baselines={}), tasks.bank(5, 1)


def test_there_is_no_picture_of_rows() -> None:
    assessment, bank = found()
    assert not sections_classes.of_images(bank.source.data)
    pages = sections_classes.confusion(assessment, bank, "x", 2)
    assert pages
    assert baseline_reports(bank) == {}


def test_the_map_leaves_out_raw_inputs() -> None:
    (text,) = sections_classes.drawn(*found(), "x", 2)
    assert "Raw inputs are left out, as those of a row are several tensors." in text
    assert "the embedding" in text


def test_functions_are_left_out() -> None:
    (text,) = sections._functions(*found("mse"), "x", 2)
    assert "Functions are not drawn" in text
