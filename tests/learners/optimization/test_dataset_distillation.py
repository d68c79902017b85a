"""Synthetic examples: their hyper-gradient, and that training on them serves real data."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import FirstOrder
from quickstudy.learners import DatasetDistillation
from quickstudy.problem import Optimizee, Problem
from quickstudy.rules import StepRates
from quickstudy.testing.specimens import problem_task


def test_the_gradient_of_synthetic_inputs_is_the_slope():
    torch.manual_seed(0)
    task = batching.to_dtype(problem_task(), torch.float64)
    learner = DatasetDistillation((4,), ways=3, shots=2, steps=3, lr=0.2).double()

    def loss():
        return learner.loss(learner.adapt(task.support), task.query)

    loss().backward()
    for value in learner.parameters():
        at = value.detach().clone()
        way = torch.randn_like(at)
        slope = float((value.grad * way).sum())
        with torch.no_grad():
            ends = [value.copy_(at + step * way) is not None and float(loss()) for step in (1e-5, -1e-5)]
            value.copy_(at)
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_one_step_on_one_example_is_the_closed_form():
    # Logits w x of two classes and one synthetic example a class: p = softmax(w x~), w <- w - eta (p - y~) x~ / 2.
    net = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    start = {"weight": torch.tensor([[0.4], [-0.3]], dtype=torch.float64)}
    rows = Optimizee(torch.zeros(2, 1, dtype=torch.float64), net)
    learner = DatasetDistillation((1,), ways=2, steps=1, lr=0.5).double()
    learner.inputs.data = torch.tensor([[1.5], [-0.5]], dtype=torch.float64)
    state = learner.adapt(Problem(rows, torch.tensor([0, 1]), start, ways=2))
    moved = start["weight"][:, 0].clone()
    for x, label in ((1.5, 0), (-0.5, 1)):
        p = (start["weight"][:, 0] * x).softmax(0)
        p[label] -= 1
        moved -= 0.5 * p * x / 2
    assert torch.allclose(state.theta["weight"][:, 0], moved, atol=1e-12)


def test_two_learned_examples_teach_from_any_beginning():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(2).repeat(40)
    way = torch.tensor([2.0, -1.0, 0.5])
    inputs = torch.randn(80, 3, generator=generator) + torch.where(labels.bool(), 1.5, -1.5)[:, None] * way
    rows = Examples(inputs, labels)
    tasks = qs.tasks.Restarts(nn.Linear(3, 2), rows, rows)
    torch.manual_seed(0)
    learner = DatasetDistillation((3,), ways=2, steps=1, lr=0.1, scale=0.1)

    def accuracy():
        return qs.evaluate(learner, tasks, tasks=20).accuracy

    before = accuracy()
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=0.1), steps=30, meta_batch=4, progress=False, compile=False)
    assert before < 0.8
    assert accuracy() > 0.97


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="shots"):
        DatasetDistillation((3,), ways=2, shots=0)
    with pytest.raises(InputError, match="constants"):
        DatasetDistillation((3,), ways=2, differentiation=FirstOrder())
    with pytest.raises(InputError, match="3 ways and the synthetic examples 2"):
        DatasetDistillation((4,), ways=2).adapt(problem_task().support)
    with pytest.raises(InputError, match="lr positive"):
        StepRates(3, 0.0)
    with pytest.raises(InputError, match="no optimisation problem"):
        DatasetDistillation((1,), ways=2).adapt(Examples(torch.zeros(2, 1), torch.tensor([0, 1])))
