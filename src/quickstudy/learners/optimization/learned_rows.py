"""Learners that change the rows of each inner step, and learn how: by the gradient through the steps alone."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.rows import RowChoice
from quickstudy.learners.optimization.l2o import L2O
from quickstudy.rules import SGD, Rule


class ChangedRows(RowChoice):
    """Base of rows that are changed before each step as something learned says, so that only `Unrolled` reaches it.

    Args:
        of: which rows are changed.
    """

    unseen: ClassVar[str]
    """What other derivatives than the exact one leave out, and why."""

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


class LearnedRows(L2O):
    """Base of learners of weights or augmentations; `SGD(0.1)` and `Unrolled()` unless told.

    Arguments as of `L2O`, and how the rows that it takes are changed.
    """

    default_objective: ClassVar[str] = "InnerSteps"
    """The papers judge the net after every step."""

    def __init__(
        self,
        changed: type[ChangedRows],
        rule: Rule | None,
        steps: int,
        batch: int | None,
        test_steps: int | None,
        differentiation: Differentiation | None,
        checkpoint: int | None,
    ) -> None:
        passing = Unrolled() if differentiation is None else differentiation
        super().__init__(SGD(0.1) if rule is None else rule, steps, batch, test_steps, passing, checkpoint)
        self.rows = changed(self.rows)
        reason = self.accepts(passing)
        if reason is not None:
            raise InputError(reason)
