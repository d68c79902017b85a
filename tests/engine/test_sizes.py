"""How much at once?"""

import pytest
import torch

import quickstudy as qs
from quickstudy.engine import sizes
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp


def test_drawing_counts_the_numbers_of_one_task() -> None:
    tasks = qs.tasks.Sinusoid(3, 7)
    # Inputs and targets of 10 rows.
    expected = sizes.DRAWN_NUMBERS // 20
    assert sizes.drawing(tasks) == expected
    assert sizes.drawing(tasks.batch(0, 6)) == expected
    assert sizes.drawing(tasks.bank(2)) == expected


def test_drawing_is_at_least_one() -> None:
    assert sizes.drawing(torch.zeros(1, 2 * sizes.DRAWN_NUMBERS)) == 1


@pytest.mark.parametrize("filters", [2, 8])
def test_what_a_convolution_makes_of_inputs_counts(filters: int) -> None:
    learner = qs.learners.ProtoNet(qs.nets.conv4(1, filters))
    rows = qs.Examples(torch.zeros(30, 5, 1, 28, 28), torch.zeros(30, 5).long(), ways=1, check=False)
    task = qs.Task(rows, rows)
    # The first layer makes `filters` maps of one image.
    per_task = 5 * 28 * 28 * filters
    assert sizes.adapting(learner, task, 30) == sizes.ADAPTING_NUMBERS // per_task
    assert sizes.judging(learner, task, 30) == sizes.JUDGED_NUMBERS // per_task


def test_small_tasks_all_fit() -> None:
    learner = CLASSIFICATION["ProtoNet"](mlp, WAYS)
    task = qs.tasks.Sinusoid(3, 7).batch(0, 50)
    assert sizes.adapting(learner, task, 50) >= 50
