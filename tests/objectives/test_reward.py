"""Rewards: of right answers, of close ones, and of one's own making."""

import pytest
import torch

from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.objectives import Reward
from quickstudy.testing.specimens import CLASSIFICATION, REGRESSION, WAYS, mlp, regression_task
from tests.helpers.masked import masked_task

KEY = random.key(0)


@pytest.mark.parametrize("name", ["MAML", "ProtoNet", "RecurrentLearner", "NearestNeighbour", "IMAML"])
def test_of_classification_it_is_minus_the_accuracy(name: str) -> None:
    learner, task = CLASSIFICATION[name](mlp, WAYS), masked_task()
    loss = Reward()(learner, task, KEY)
    answers = learner.predict(learner.adapt(task.support), task.query.inputs).argmax(1).tolist()
    asked = zip(answers, task.query.labels.tolist(), task.query.mask.tolist(), strict=True)
    right = [answer == label for answer, label, counts in asked if counts]
    assert float(loss) == pytest.approx(-sum(right) / len(right))
    assert not loss.requires_grad


@pytest.mark.parametrize("name", ["CNP", "NP"])
def test_of_regression_it_is_the_squared_error_of_the_mean(name: str) -> None:
    learner, task = REGRESSION[name](mlp, 1), regression_task()
    mean = learner.predict(learner.learn(task.support, KEY), task.query.inputs).mean
    loss = Reward()(learner, task, KEY)
    torch.testing.assert_close(loss, (mean - task.query.labels).square().mean().detach())
    assert not loss.requires_grad


def test_rewards_of_answers() -> None:
    numbers = Examples(torch.zeros(2, 1), torch.tensor([[1.0, 2.0], [0.0, 4.0]]))
    assert Reward().reward(torch.tensor([[1.0, 4.0], [1.0, 3.0]]), numbers).tolist() == [-2, -1]
    maps = Examples(torch.zeros(2, 1), torch.tensor([[0, 1], [1, 1]]), ways=2)
    assert Reward().reward(torch.tensor([[0, 0], [1, 1]]), maps).tolist() == [0.5, 1]


def test_a_judge_of_ones_own() -> None:
    """Class 0 must never be missed."""
    objective = Reward(lambda answers, query: -10.0 * ((query.labels == 0) & (answers != 0)))
    query = Examples(torch.zeros(3, 1), torch.tensor([0, 0, 1]))
    assert objective.reward(torch.tensor([0, 1, 2]), query).tolist() == [0, -10, 0]
    assert float(objective(CLASSIFICATION["MAML"](mlp, WAYS), masked_task(), KEY)) in (0, 2, 4)
    with pytest.raises(InputError, match=r"one reward a query row, shape \(6,\), not \(\)"):
        Reward(lambda answers, query: torch.zeros(()))(CLASSIFICATION["MAML"](mlp, WAYS), masked_task(), KEY)


def test_says_that_it_has_no_derivative() -> None:
    assert Reward().differentiable is False
    assert Reward().weight(torch.arange(1, 3), 2).tolist() == [0, 1]
