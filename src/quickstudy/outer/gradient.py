"""The meta-gradient by back-propagation through the learner."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation
from quickstudy.outer.base import Following, Outer, with_differentiation, without_derivative
from quickstudy.registry import register


@register("outer", how="gradient of the objective through adaptation")
class Gradient(Outer):
    """Gradient of the mean objective over the meta-batch.

    Args:
        lr: outer learning rate.
        through: how the gradient passes through an inner loop (`inner.differentiation`: Unrolled, FirstOrder,
            Implicit, SAMA); None leaves it as the learner has it.
        following: keywords of `outer.Outer`.
    """

    def __init__(
        self, lr: float = 1e-3, through: Differentiation | None = None, **following: Unpack[Following]
    ) -> None:
        super().__init__(lr, **following)
        if through is not None and not isinstance(through, Differentiation):
            raise InputError(
                f"through must be a differentiation, such as inner.differentiation.FirstOrder(), not {through!r}"
            )
        self.through = through

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need a derivative, and an inner loop where one is told how to pass it."""
        if self.through is not None:
            accepts = getattr(learner, "accepts", None)
            if accepts is None:
                return (
                    f"{type(learner).__name__} has no inner loop for the gradient to pass "
                    f"{type(self.through).__name__}; leave out `through`"
                )
            reason: str | None = accepts(self.through)
            if reason is not None:
                return reason
        return without_derivative(objective)

    def as_trained(self, learner: Learner) -> Learner:
        """Return the learner with the gradient passing as asked."""
        return learner if self.through is None else with_differentiation(learner, self.through)

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Back-propagate the mean loss."""
        return meta_loss.share(meta_loss.backward(tasks, keys, self.as_trained(meta_loss.learner)))
