"""Nets of 16 bits: every learner adapts and predicts nearly as in 32 bits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.functional import random
from quickstudy.functional.classes import absent
from quickstudy.operators import trees
from quickstudy.testing import specimens

CASES = [("classification", name) for name in specimens.CLASSIFICATION]
CASES += [("regression", name) for name in specimens.REGRESSION]


def made(kind: str, name: str) -> tuple[Learner, Task]:
    torch.manual_seed(0)
    if kind == "regression":

        def small(*args: Any, **options: Any) -> nn.Module:
            return specimens.mlp(*args, **{**options, "inputs": 1})

        return specimens.REGRESSION[name](small, 1).eval(), specimens.regression_task()
    if name == "RelationNet":
        return specimens.CLASSIFICATION[name](specimens.conv4, 3).eval(), specimens.classification_task(
            shape=(1, 16, 16)
        )
    return specimens.CLASSIFICATION[name](specimens.mlp, 3).eval(), specimens.classification_task()


def answers(kind: str, learner: Learner, task: Task) -> Tensor:
    found = learner.predict(learner.learn(task.support, random.key(0)), task.query.inputs)
    if kind == "classification":
        return found.float().softmax(-1)  # type: ignore[union-attr]
    return torch.cat([leaf.float().flatten() for leaf in trees.leaves(found)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_answers_are_near(kind: str, name: str, dtype: torch.dtype) -> None:
    learner, task = made(kind, name)
    narrow = copy.deepcopy(learner).to(dtype)
    found = answers(kind, narrow, batching.to_dtype(task, dtype))
    torch.testing.assert_close(found, answers(kind, learner, task), rtol=0.05, atol=0.1)


def test_absent_classes_have_no_probability() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        logits = torch.tensor([[60.0, absent(dtype)]], dtype=dtype, requires_grad=True)
        losses = torch.log_softmax(logits, -1)
        assert bool(torch.isfinite(losses).all())
        assert losses.exp()[0, 1] == 0
        assert bool(torch.isfinite(torch.autograd.grad(losses[0, 0], logits)[0]).all())
    assert absent(torch.bfloat16) == absent(torch.float64) == -1e9


@pytest.mark.parametrize("learner", [qs.learners.ProtoNet, qs.learners.Siamese, qs.learners.MatchingNet])
def test_classifier_of_scikit_learn(learner: type[Learner]) -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 300)  # squared distances beyond 65504
    x, y = 30 * torch.randn(9, 4), torch.arange(9) % 3
    wide = qs.FewShotClassifier(learner(net)).fit(x.numpy(), y.numpy()).predict(x.numpy())  # type: ignore[call-arg]
    half = qs.FewShotClassifier(learner(copy.deepcopy(net).half())).fit(x.half().numpy(), y.numpy())  # type: ignore[call-arg]
    assert (half.predict(x.half().numpy()) == wide).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_default_dtype_changes_nothing(kind: str, name: str, dtype: torch.dtype) -> None:
    learner, task = made(kind, name)
    learner, task = learner.to(dtype), batching.to_dtype(task, dtype)
    expected = answers(kind, learner, task)
    torch.set_default_dtype(torch.float64)
    try:
        state = learner.learn(task.support, random.key(0))
        found = learner.predict(state, task.query.inputs)
        assert {leaf.dtype for leaf in trees.leaves(found)} | {learner.loss(state, task.query).dtype} == {dtype}
        assert torch.equal(answers(kind, learner, task), expected)
    finally:
        torch.set_default_dtype(torch.float32)
