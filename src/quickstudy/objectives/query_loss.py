"""The loss on a task's query after learning its support: final, or asymptotic, performance.

loss = L(theta_n; query),  theta_n after all n inner steps
"""

from __future__ import annotations

from torch import Tensor

from quickstudy.core import Learner, State, Task
from quickstudy.engine.objective import objective
from quickstudy.registry import register


def after(learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
    """Return the loss of a state that adapting to the support gave."""
    return learner.loss(state, task.query)


@register("objective", why="performance after adaptation")
@objective(learners_own=True, after=after)
def query_loss(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the learner's loss on the query after adapting to the support."""
    return after(learner, learner.learn(task.support, key), task, key)
