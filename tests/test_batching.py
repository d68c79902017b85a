"""The only place that batches over tasks."""

import pytest
import torch
from torch import nn

from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.learners import ProtoNet
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp
from tests.helpers.task_batches import KEYS, tasks


def test_count() -> None:
    assert batching.count((torch.zeros(3, 2), {"a": torch.zeros(3)})) == 3
    with pytest.raises(InputError, match="at least one tensor"):
        batching.count(())
    with pytest.raises(InputError, match="same first dimension T"):
        batching.count((torch.zeros(3), torch.zeros(4)))
    with pytest.raises(InputError, match="same first dimension T"):
        batching.count((torch.zeros(3), torch.zeros(())))


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7, 50])
def test_chunks(size: int | None) -> None:
    parts = list(batching.chunks(torch.arange(7), size))
    assert torch.equal(torch.cat(parts), torch.arange(7))
    assert all(len(part) <= (size or 7) for part in parts)


def test_stochastic_learners_need_keys() -> None:
    learner = CLASSIFICATION["Reptile"](mlp, WAYS)
    with pytest.raises(InputError, match="pass keys"):
        batching.adapt(learner, tasks().support)
    one = batching.adapt(learner, tasks().support, KEYS, chunk_size=2)
    two = batching.adapt(learner, tasks().support, KEYS)
    torch.testing.assert_close(one.theta, two.theta)


def test_dropout_of_a_net_differs_from_task_to_task() -> None:
    learner = ProtoNet(nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5)))
    same = batching.stack([classification_task()] * 3)
    states = batching.adapt(learner, same.support)
    assert not torch.allclose(states.means[0], states.means[1])
    states = batching.adapt(learner.eval(), same.support)
    assert torch.allclose(states.means[0], states.means[1])


def test_to_dtype_leaves_integers_and_masks() -> None:
    batch = batching.to_dtype(tasks(), torch.float64)
    assert batch.support.inputs.dtype == torch.float64
    assert batch.support.labels.dtype == torch.int64
    assert batch.support.ways == 3


def test_chunks_are_as_equal_as_can_be() -> None:
    assert [len(part) for part in batching.chunks(torch.arange(16), 15)] == [8, 8]
