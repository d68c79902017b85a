"""The loss on a task's query after learning its support: final performance."""

from __future__ import annotations

from torch import Tensor

from quickstudy.batching import adapt_one
from quickstudy.core import Learner, Task
from quickstudy.registry import register


@register("objective", why="performance after adaptation")
def query_loss(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the learner's loss on the query after adapting to the support."""
    return learner.loss(adapt_one(learner, task.support, key), task.query)
