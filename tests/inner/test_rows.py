"""Which rows an inner step sees."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.inner.loop import InnerState
from quickstudy.inner.losses import TaskLoss
from quickstudy.inner.rows import AllRows, ChangedRows, MiniBatches, RowChoice
from quickstudy.learners import GradientLearner
from quickstudy.rules import SGD
from quickstudy.testing import check_learner
from quickstudy.testing.specimens import regression_task

KEY = random.key(1)


def learner(**options: Any) -> GradientLearner:
    return GradientLearner(AllParameters(nn.Linear(1, 1)), SGD(0.1), Unrolled(), 3, **options)


class Turns(RowChoice):
    """Every second row, in turns."""

    def ordered(self, learner: Any) -> bool:
        return True

    def take(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        turn = torch.arange(len(support)) % 2 == state.step % 2
        return Examples(support.inputs, support.labels, support.counted & turn, support.ways, check=False)


class Shifted(ChangedRows):
    """Rows whose inputs are moved by one."""

    unseen: ClassVar[str] = "shifts, which are constants to"

    def take(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        rows = self.of.take(learner, state, support)
        return Examples(rows.inputs + 1, rows.labels, rows.mask, rows.ways, check=False)


def test_a_part_of_ones_own_is_seen_as_in_a_plain_loop() -> None:
    support = regression_task().support
    built = learner(rows=Turns())
    assert not built.stochastic
    assert not built.permutation_invariant
    weight, bias = (value.detach().clone() for value in built.adapted.net.parameters())
    for step in range(3):
        x, y = support.inputs[step % 2 :: 2], support.labels[step % 2 :: 2]
        error = x @ weight.T + bias - y
        weight, bias = weight - 0.1 * 2 * (error * x).mean(0, keepdim=True), bias - 0.1 * 2 * error.mean(0)
    torch.testing.assert_close(built.adapt(support).theta["weight"].detach(), weight)
    check_learner(built, regression_task())


def test_batch_is_short_for_mini_batches() -> None:
    support = regression_task().support
    one, other = learner(batch=2), learner(rows=MiniBatches(2))
    other.load_state_dict(one.state_dict())
    assert isinstance(one.rows, MiniBatches)
    assert isinstance(learner().rows, AllRows)
    assert one.stochastic
    assert other.stochastic
    assert torch.equal(one.learn(support, KEY).theta["weight"], other.learn(support, KEY).theta["weight"])
    for size in (0, -1):
        with pytest.raises(InputError, match="at least 1 row"):
            learner(batch=size)


def test_two_choices_of_rows_are_refused() -> None:
    with pytest.raises(InputError, match="both batch and rows"):
        learner(batch=2, rows=AllRows())


def test_changed_rows_are_those_of_another_choice() -> None:
    support = Examples(torch.arange(6.0).unsqueeze(1), torch.arange(6.0).unsqueeze(1))
    built = learner(rows=Shifted(MiniBatches(2)))
    assert built.stochastic
    assert not built.permutation_invariant
    state = built.start(support, KEY)
    rows = built.rows.take(built, state, support)
    plain = MiniBatches(2).take(built, state, support)
    assert torch.equal(rows.inputs, plain.inputs + 1)
    assert torch.equal(rows.labels, plain.labels)
    assert not learner(rows=Shifted(AllRows())).stochastic
    assert learner(rows=Shifted(AllRows())).permutation_invariant


def test_changed_rows_refuse_all_but_the_exact_derivative() -> None:
    assert "GradientLearner needs Unrolled()" in str(learner(rows=Shifted(AllRows())).accepts(FirstOrder()))
    assert learner(rows=Shifted(AllRows())).accepts(Unrolled()) is None


def test_parts_are_objects_of_their_kind() -> None:
    for rows in (2, MiniBatches, lambda *given: given):
        with pytest.raises(InputError, match="rows must be an object of a subclass of RowChoice"):
            learner(rows=rows)
    for loss in (TaskLoss, lambda *given: given[0]):
        with pytest.raises(InputError, match="loss must be an object of a subclass of InnerLoss"):
            learner(loss=loss)
