"""The logarithm of a loss, so that problems count alike whatever the size of their losses.

loss = log(L(theta_n; query) + floor)

A learned optimiser is trained on problems whose losses differ by powers of ten, and on each of them a halved loss is a
halved loss. The logarithm's gradient is that of the loss divided by the loss; Metz et al. 2022, "VeLO: Training
Versatile Learned Optimizers by Scaling Up", normalise losses for the same reason.
"""

from __future__ import annotations

from torch import Tensor

from quickstudy.core import Learner, State, Task
from quickstudy.errors import InputError
from quickstudy.objectives.base import LossOfTask, Objective, Wrapper
from quickstudy.registry import register


@register("objective", why="final performance, whatever a task's scale")
class LogLoss(Wrapper):
    """Logarithm of an objective that is positive and judges a state.

    Args:
        floor: added to the loss, for losses that reach zero.
        of: whose logarithm is taken, or its name.

    Raises:
        InputError: the floor is not positive, or `of` does not judge a state.
    """

    def __init__(self, floor: float = 1e-6, of: Objective | LossOfTask | str = "query_loss") -> None:
        super().__init__(of)
        if not floor > 0:
            raise InputError(f"floor must be positive, not {floor}")
        if not self.of.judges_end:
            raise InputError(f"of={of!r} does not judge a state (no `after`); take the logarithm inside of it")
        if self.of.rewards:
            raise InputError(f"of={of!r} is minus a reward, which may be negative, and so has no logarithm")
        self.floor = floor

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the logarithm of one task's loss."""
        loss: Tensor = self.of(learner, task, key)
        return (loss + self.floor).log()

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the logarithm of the loss of a state that adapting to the support gave."""
        return (self.of.after(learner, state, task, key) + self.floor).log()
