"""Outer gradients through inner loops, against hyper-gradients in closed form."""

import pytest
import torch
from torch import Tensor

import bilevel
from quickstudy import batching
from quickstudy.batching import TaskLosses
from quickstudy.functional import random
from quickstudy.objectives import query_loss

pytestmark = pytest.mark.usefixtures("float64")


def exactly(found: Tensor, expected: Tensor) -> None:
    """Assert equality to 1e-6 of the largest number, and that there is something to compare."""
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_learned_rate_has_the_closed_forms_gradient() -> None:
    """What the outer optimisers are measured against, through the whole library."""
    learner, tasks = bilevel.learner(steps=6), bilevel.Parabolas(seed=1).draw(torch.arange(4))
    losses = TaskLosses(query_loss).backward(learner, tasks, random.fold_in(random.key(0), torch.arange(4)))
    exactly(losses, bilevel.value(tasks, 0.05, 6))
    exactly(learner.rule.log_lr.grad, bilevel.hyper_gradient(tasks, 0.05, 6).mean())


@pytest.mark.parametrize("length", [1, 2, 3])
def test_truncation_is_biased(length: int) -> None:
    """Segments whose start is a constant, one after the other, by torch.autograd: the closed form of the truncated."""
    steps, weights = 6, torch.rand(6)
    task = batching.select(bilevel.Parabolas(seed=1).draw(torch.arange(1)), 0)
    learner = bilevel.learner(steps)
    state = learner.start(task.support)
    found = []
    for first in range(0, steps, length):
        state = state._replace(theta={name: value.detach() for name, value in state.theta.items()})
        total = torch.zeros(())
        for step in range(first, first + length):
            state = learner.step(state, task.support)
            total = total + weights[step] * learner.loss(learner.finish(state, task.support), task.query)
        found.append(torch.autograd.grad(total, learner.rule.log_lr)[0])
    expected = bilevel.truncated_gradients(task, 0.05, steps, length, weights)
    exactly(torch.stack(found), expected)
    whole = bilevel.hyper_gradient(task, 0.05, steps, weights)
    assert abs(float(expected.sum() / whole) - 1) > 0.2
    exactly(bilevel.truncated_gradients(task, 0.05, steps, steps, weights).sum(), whole)
