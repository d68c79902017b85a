"""Objectives."""

import pytest
import torch
import torch.nn.functional as F

from quickstudy import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.objectives import pretraining, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp


def test_query_loss_is_after_adaptation() -> None:
    task, learner = classification_task(), CLASSIFICATION["MAML"](mlp, WAYS)
    logits = learner.predict(learner.adapt(task.support), task.query.inputs)
    expected = F.cross_entropy(logits, task.query.labels)
    torch.testing.assert_close(query_loss(learner, task, random.key(0)), expected)


def test_query_loss_passes_the_key() -> None:
    task, learner = classification_task(), CLASSIFICATION["Reptile"](mlp, WAYS)
    a, b, c = (query_loss(learner, task, random.key(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_pretraining_classifies_all_classes() -> None:
    learner = CLASSIFICATION["FineTune"](mlp, WAYS)
    rows = Examples(torch.randn(5, 4), torch.tensor([6, 0, 3, 3, 1]))
    expected = F.cross_entropy(learner.pretraining_head(learner.net(rows.inputs)), rows.labels)
    torch.testing.assert_close(pretraining(learner, Task(rows, rows), random.key(0)), expected)
    with pytest.raises(InputError, match="has 7 classes and the tasks 3"):
        pretraining(learner, classification_task(), random.key(0))
    with pytest.raises(InputError, match="use the objective query_loss"):
        pretraining(CLASSIFICATION["MAML"](mlp, WAYS), classification_task(), random.key(0))
