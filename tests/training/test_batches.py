"""Which tasks a process takes at each step."""

import torch

import quickstudy as qs
from quickstudy.engine import sizes
from quickstudy.engine.ranks import Ranks
from quickstudy.training.batches import MOST_AHEAD, Batches


def test_tasks_are_those_of_the_stream_whatever_is_drawn_ahead() -> None:
    tasks = qs.tasks.Sinusoid(3, 4)
    for ranks in (Ranks(), Ranks(1, 3)):
        batches = Batches(tasks, 5, ranks, torch.float64)
        assert batches.ahead == MOST_AHEAD
        # A run may be resumed anywhere.
        for step in (7, 8, 99, 100, 101, 230):
            found = batches.at(step)
            expected = tasks.batch((step * ranks.size + ranks.rank) * 5, 5)
            torch.testing.assert_close(found.query.inputs, expected.query.inputs.double(), rtol=0, atol=0)
            assert (
                batches.indices(step).tolist()
                == list(range(step * ranks.size * 5, (step * ranks.size + 3) * 5))[ranks.rank * 5 : ranks.rank * 5 + 5]
            )


def test_large_tasks_are_drawn_step_by_step() -> None:
    large = qs.tasks.Sinusoid(sizes.DRAWN_NUMBERS // 2, 1)
    assert Batches(large, 2, Ranks(), torch.float32).ahead == 1
