"""Model-based learners compile as a whole, and agree with eager."""

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.objectives import elbo, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, REGRESSION, WAYS, classification_task, mlp

# Compilers warn of things that are not ours.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]


def gradients(losses: MetaLoss, tasks: Task) -> list[torch.Tensor]:
    learner = losses.learner
    learner.zero_grad()
    losses.backward(tasks, random.fold_in(random.key(0), torch.arange(2)))
    return [p.grad.clone() for p in learner.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["InContext-random", "MetaNet", "SNAIL"])
def test_classification(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    tasks = batching.stack([classification_task(), classification_task(2 + 1)])
    compiled = MetaLoss(learner, query_loss, compile=True)
    torch.testing.assert_close(gradients(compiled, tasks), gradients(MetaLoss(learner, query_loss), tasks))
    assert compiled.compile


@pytest.mark.parametrize("name", ["AttentiveNP"])
def test_neural_processes(name: str) -> None:
    learner, tasks = REGRESSION[name](mlp, 1), qs.tasks.Sinusoid(shots=(2, 6), queries=4).batch(0, 2)
    compiled = MetaLoss(learner, elbo, compile=True)
    torch.testing.assert_close(gradients(compiled, tasks), gradients(MetaLoss(learner, elbo), tasks))
    assert compiled.compile
