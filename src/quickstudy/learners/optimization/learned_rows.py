"""Learners that change the rows of each inner step, and learn how: by the gradient through the steps alone."""

from __future__ import annotations

from typing import ClassVar

from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.learners.optimization.l2o import L2O
from quickstudy.rules import SGD, Rule


class LearnedRows(L2O):
    """Base of learners of weights or augmentations; `SGD(0.1)` and `Unrolled()` unless told. Arguments as of `L2O`."""

    default_objective: ClassVar[str] = "InnerSteps"
    """The papers judge the net after every step."""
    unseen: ClassVar[str]
    """What other derivatives than the exact one leave out, and why."""

    def __init__(
        self,
        rule: Rule | None,
        steps: int,
        batch: int | None,
        test_steps: int | None,
        differentiation: Differentiation | None,
        checkpoint: int | None,
    ) -> None:
        passing = Unrolled() if differentiation is None else differentiation
        reason = self.accepts(passing)
        if reason is not None:
            raise InputError(reason)
        super().__init__(SGD(0.1) if rule is None else rule, steps, batch, test_steps, passing, checkpoint)

    def accepts(self, differentiation: Differentiation) -> str | None:
        """Refuse all but the exact derivative through the steps."""
        if isinstance(differentiation, Unrolled):
            return None
        return (
            f"{type(differentiation).__name__} gradients know nothing of {self.unseen} each inner gradient; "
            f"{type(self).__name__} needs Unrolled()"
        )
