"""One problem, from many beginnings."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.tasks import Restarts

SUPPORT = Examples(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1]))
QUERY = Examples(torch.ones(2, 2), torch.tensor([0, 1]))


def test_only_the_beginning_differs():
    tasks = Restarts(nn.Linear(2, 2), SUPPORT, QUERY, seed=3)
    batch = tasks.batch(5, 2)
    first, second = (batching.select(batch, i) for i in (0, 1))
    assert not torch.equal(first.support.start["weight"], second.support.start["weight"])
    for task in (first, second):
        assert torch.equal(task.support.inputs.inputs, SUPPORT.inputs)
        assert torch.equal(task.query.labels, QUERY.labels)
        assert task.support.ways == 2
    # Task 6 is the same, whoever asks for it, and as the key of a layer says.
    again = batching.select(tasks.batch(6, 1), 0)
    assert torch.equal(again.support.start["bias"], second.support.start["bias"])
    assert first.support.start["weight"].abs().max() <= 2**-0.5


def test_a_learner_fits_it():
    tasks = Restarts(nn.Linear(2, 2), SUPPORT, QUERY)
    task = batching.select(tasks.batch(0, 1), 0)
    learner = qs.learners.L2O(qs.rules.Adam(0.1), steps=100)
    state = learner.adapt(task.support)
    assert learner.loss(state, task.support) < 0.1


def test_what_it_is_made_of_is_told_apart():
    a, b = (Restarts(net, SUPPORT, QUERY) for net in (nn.Linear(2, 2), nn.Linear(2, 3)))
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == Restarts(nn.Linear(2, 2), SUPPORT, QUERY, seed=1).fingerprint
    assert a.describe()["net"] == "Linear"
    assert a.metric == "accuracy"
    with pytest.raises(InputError, match="Examples"):
        Restarts(nn.Linear(2, 2), QUERY, None)
    assert random.key(0).ndim == 0
