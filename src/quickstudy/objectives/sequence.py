"""The mean loss along a stream: each row is predicted from the rows before it."""

from __future__ import annotations

from torch import Tensor

from quickstudy.batching import stream_one
from quickstudy.core import Learner, Task, prediction_loss
from quickstudy.engine.objective import objective
from quickstudy.functional.classes import answerable
from quickstudy.registry import register


def refuses(learner: Learner) -> str | None:
    """Need a learner of rows alone."""
    if not learner.needs_problems:
        return None
    name = type(learner).__name__
    return f"{name} learns problems that bring their own net, not sequences; use objective='query_loss'"


@register("objective", why="learning all along a stream")
@objective(refuses=refuses)
def sequence(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the mean loss of predicting each row from those before it, the label one step late.

    Rows whose class was not shown before are left out: no learner can name them.
    """
    return prediction_loss(stream_one(learner, task.query, key), answerable(task.query))
