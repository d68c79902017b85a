"""Model-based learners compile as a whole, and agree with eager."""

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import TaskLosses
from quickstudy.functional import random
from quickstudy.objectives import elbo, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, REGRESSION, WAYS, classification_task, mlp

# Compilers warn of things that are not ours.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]


def gradients(learner: Learner, losses: TaskLosses, tasks: Task) -> list[torch.Tensor]:
    learner.zero_grad()
    losses.backward(learner, tasks, random.fold_in(random.key(0), torch.arange(2)))
    return [p.grad.clone() for p in learner.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["InContext-random", "MetaNet", "SNAIL"])
def test_classification(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    tasks = batching.stack([classification_task(), classification_task(2 + 1)])
    compiled = TaskLosses(query_loss, compile=True)
    torch.testing.assert_close(gradients(learner, compiled, tasks), gradients(learner, TaskLosses(query_loss), tasks))
    assert compiled.compile


@pytest.mark.parametrize("name", ["AttentiveNP"])
def test_neural_processes(name: str) -> None:
    learner, tasks = REGRESSION[name](mlp, 1), qs.tasks.Sinusoid(shots=(2, 6), queries=4).batch(0, 2)
    compiled = TaskLosses(elbo, compile=True)
    torch.testing.assert_close(gradients(learner, compiled, tasks), gradients(learner, TaskLosses(elbo), tasks))
    assert compiled.compile
