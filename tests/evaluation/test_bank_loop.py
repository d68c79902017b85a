"""The loop over a bank: tasks, keys, dtypes and modes, the same for everything that judges a learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.evaluation import predictions, reliability, task_keys
from quickstudy.evaluation.bank_loop import batches
from quickstudy.functional import random
from quickstudy.reports import episodes
from quickstudy_studies.robustness import under_attack
from tests.helpers.blobs import make_blobs


def tasks(**options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(make_blobs(), **{"ways": 3, "shots": 1, "queries": 4, **options})


class Guessing(qs.Learner):
    """Answers by a map that its key draws, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(1, 1)

    @property
    def stochastic(self) -> bool:
        return True

    def adapt(self, support: qs.Examples, key: Tensor | None = None) -> Tensor:
        assert key is not None
        return random.normal(key, 4, 3)

    def predict(self, state: Tensor, inputs: Tensor) -> Tensor:
        assert not self.training
        return inputs @ state


def test_everything_that_judges_a_learner_draws_the_same_noise() -> None:
    """Also on a bank of another seed than the usual one."""
    bank = tasks().bank(40, seed=7)
    plain = qs.evaluate(Guessing(), bank, 40).values
    assert plain.tolist() != qs.evaluate(Guessing(), tasks().bank(40), 40).values.tolist()
    assert under_attack(Guessing().eval(), bank, 0.0, 1).tolist() == plain.tolist()
    played = episodes.play(Guessing(), bank, 40)
    assert (played.outputs.argmax(2) == played.tasks.query.labels).double().mean(1).tolist() == plain.tolist()
    found = reliability(Guessing(), bank, 40)
    assert found.risk[-1] == pytest.approx(1 - plain.mean())
    # The seed is that of a bank to be made, and one that is there has its own.
    assert qs.evaluate(Guessing(), bank, 40, seed=1).values.tolist() == plain.tolist()
    assert qs.evaluate(Guessing(), tasks(), 40, seed=7).values.tolist() == plain.tolist()


def test_predictions_are_those_of_each_task_alone() -> None:
    learner, bank = qs.learners.ProtoNet(nn.Linear(4, 2)), tasks(ways=(2, 3)).bank(11)
    count = 0
    for each in predictions(learner, bank, 100, chunk=4):
        assert torch.is_grad_enabled()
        assert not each.outputs.requires_grad
        for row, index in enumerate(each.indices.tolist()):
            task = batching.select(bank.batch(index, 1), 0)
            state = learner.adapt(task.support)
            torch.testing.assert_close(each.outputs[row], learner.predict(state, task.query.inputs))
            assert torch.equal(each.tasks.query.labels[row], task.query.labels)
            count += 1
    assert count == 11


def test_keys_are_those_of_the_bank_s_seed() -> None:
    bank = tasks().bank(5, seed=3)
    (found,) = batches(Guessing(), bank, 5)
    assert torch.equal(found.keys, task_keys(torch.arange(5), 3, torch.device("cpu")))


@pytest.mark.parametrize("end", ["exhausted", "left", "failed"])
def test_every_part_gets_its_mode_back(end: str) -> None:
    learner = qs.learners.ProtoNet(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)))
    learner.net[1].eval()
    modes = [part.training for part in learner.modules()]
    found = predictions(learner, tasks(), 6, chunk=2)
    next(found)
    assert not any(part.training for part in learner.modules())
    if end == "exhausted":
        assert len(list(found)) == 2
    elif end == "left":
        found.close()
    else:
        with pytest.raises(ValueError, match="no"):
            found.throw(ValueError("no"))
    assert [part.training for part in learner.modules()] == modes


def test_judging_uncertainty_leaves_a_learner_as_it_was() -> None:
    learner = qs.learners.ProtoNet(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)))
    learner.net[1].eval()
    modes = [part.training for part in learner.modules()]
    reliability(learner, tasks(), 6)
    assert [part.training for part in learner.modules()] == modes


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tasks_come_in_the_learner_s_dtype(dtype: torch.dtype) -> None:
    learner = qs.learners.ProtoNet(nn.Linear(4, 2)).to(dtype)
    (found,) = predictions(learner, tasks(), 6)
    assert found.tasks.query.inputs.dtype == dtype
    assert found.tasks.query.labels.dtype == torch.int64
    assert np.isfinite(reliability(learner, tasks(), 6).area)


def test_what_cannot_be_predicted_is_refused() -> None:
    learner = qs.learners.ProtoNet(nn.Linear(4, 2))
    with pytest.raises(InputError, match="tasks must be at least 1"):
        next(predictions(learner, tasks(), 0))
    with pytest.raises(InputError, match="sequences have no query"):
        next(predictions(learner, qs.tasks.Sequential(make_blobs(), 3, 2), 3))
