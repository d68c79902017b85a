"""Return and regret against plain sums."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings

from quickstudy.evaluation import find_metric
from tests.evaluation.metrics.batches import SEEDS, by_task, masked, targets

fixed = settings(max_examples=40, deadline=None, derandomize=True)


@given(SEEDS)
@fixed
def test_episodes_of_several_steps(seed: int) -> None:
    rewards, query = targets(seed, 3)
    returns, regrets = [], []
    for found, best in by_task(rewards, query):
        returns.append(sum(sum(row) for row in found) / len(found))
        regrets.append(sum(sum(row) for row in best) / len(best) - returns[-1])
    np.testing.assert_allclose(find_metric("return").of(rewards, query), returns)
    np.testing.assert_allclose(find_metric("regret").of(rewards, query), regrets)


def test_episodes_of_one_step_and_padding() -> None:
    rewards = torch.tensor([[1.0, 3.0, torch.nan]])
    query = masked(np.array([[4.0, 4.0, np.nan]]), np.array([[True, True, False]]), None)
    assert find_metric("return").of(rewards, query).tolist() == [2.0]
    assert find_metric("regret").of(rewards, query).tolist() == [2.0]
