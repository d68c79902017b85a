"""Learners that change the rows of each inner step, and learn how: by the gradient through the steps alone."""

from __future__ import annotations

from typing import ClassVar

from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.rows import ChangedRows
from quickstudy.learners.optimization.l2o import L2O
from quickstudy.rules import SGD, Rule


class LearnedRows(L2O):
    """Base of learners of weights or augmentations; `SGD(0.1)` and `Unrolled()` unless told.

    Arguments as for `L2O`; `changed` says what becomes of the rows that it would take.
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
