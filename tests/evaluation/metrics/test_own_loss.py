"""The loss of a learner as a metric."""

import pytest
import torch

import quickstudy as qs
from tests.helpers.blobs import make_blobs


def test_a_learner_s_own_loss_is_asked_of_the_learner() -> None:
    tasks = qs.tasks.FewShot(make_blobs(), ways=3, shots=1, queries=2)
    learner = qs.learners.ProtoNet(torch.nn.Linear(4, 2))
    found = qs.evaluate(learner, tasks, 4, metric="loss")
    for i in range(4):
        task = qs.batching.select(tasks.bank(4).batch(i, 1), 0)
        assert found.values[i] == pytest.approx(
            float(learner.loss(learner.adapt(task.support), task.query).detach()), rel=1e-5
        )
