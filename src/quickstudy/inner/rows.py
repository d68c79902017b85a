"""WHICH rows an inner step sees: all, some in turn, or rows made of them; one part of the inner loop.

A part is asked with the learner that it is of, for what is learned across tasks are the learner's parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.operators import trees

if TYPE_CHECKING:
    from quickstudy.inner.loop import GradientLearner, InnerState


class RowChoice:
    """Base of choices of rows."""

    drawn: bool = False
    """Whether it draws with the task's key."""

    def ordered(self, learner: Any) -> bool:
        """Return whether the places of the support's rows matter."""
        return False

    def start(self, state: InnerState, support: Examples, key: Tensor | None) -> InnerState:
        """Return the state before the first step, with what `take` needs in it."""
        return state

    def take(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        """Return the rows of the step that a state is before.

        Args:
            learner: whose part this is, a `GradientLearner`.
            state: before the step, which it counts.
            support: all rows of the task.
        """
        raise NotImplementedError

    def end(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        """Return the rows on which the inner loop ends: for which its end is a fixed point, and batch statistics are
        taken."""
        return support

    def refuses(self, learner: GradientLearner, differentiation: Differentiation) -> str | None:
        """Return why the outer gradient cannot pass such rows so, or None if it can."""
        return None


class AllRows(RowChoice):
    """All rows of the support, in every step."""

    def take(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        """Return the support."""
        return support


class MiniBatches(RowChoice):
    """Some rows a step, in a random order that every pass over the support has; all rows where there are no more.

    Args:
        size: rows a step.

    Raises:
        InputError: the size is not positive.
    """

    drawn = True

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InputError(f"batch must be at least 1 row, or None for all, not {size}")
        self.size = size

    def ordered(self, learner: Any) -> bool:
        """The order is drawn for places."""
        return True

    def start(self, state: InnerState, support: Examples, key: Tensor | None) -> InnerState:
        """Draw the order."""
        if self.size >= len(support):
            return state
        order = random.permutation(random.key(0, state.step.device) if key is None else key, len(support))
        if support.mask is not None:
            # Padding last, where no mini-batch reaches.
            order = order[(~support.mask[order]).long().argsort(stable=True)]
        return state._replace(order=order)

    def take(self, learner: Any, state: InnerState, support: Examples) -> Examples:
        """Return the next rows."""
        order = state.order
        if not isinstance(order, Tensor):
            return support
        slots = torch.arange(self.size, device=order.device)
        size = torch.full_like(state.step, len(support)) if support.mask is None else support.mask.sum().clamp_min(1)
        # Each pass over the support takes its rows in the same random order; `step` counts on across passes.
        picked = order[(state.step * self.size + slots) % size]

        def take(leaf: Tensor) -> Tensor:
            return leaf[picked]

        # With fewer real rows than a batch, each comes once.
        mask = None if support.mask is None else take(support.mask) & (slots < size)
        return Examples(trees.map_leaves(take, support.inputs), take(support.labels), mask, support.ways, check=False)


class ChangedRows(RowChoice):
    """Base of rows that are changed before each step as something learned says, so that only `Unrolled` reaches it.

    Args:
        of: which rows are changed.
    """

    unseen: ClassVar[str]
    """Reason why only the exact derivative will do: the terms that others leave out."""

    def __init__(self, of: RowChoice) -> None:
        self.of, self.drawn = of, of.drawn

    def ordered(self, learner: Any) -> bool:
        """Return whether it matters for the rows that are changed."""
        return self.of.ordered(learner)

    def start(self, state: InnerState, support: Examples, key: Tensor | None) -> InnerState:
        """Return the state from which rows to change are taken."""
        return self.of.start(state, support, key)

    def refuses(self, learner: GradientLearner, differentiation: Differentiation) -> str | None:
        """Refuse all but the exact derivative through the steps."""
        if isinstance(differentiation, Unrolled):
            return None
        return (
            f"{type(differentiation).__name__} gradients know nothing of {self.unseen} each inner gradient; "
            f"{type(learner).__name__} needs Unrolled()"
        )
