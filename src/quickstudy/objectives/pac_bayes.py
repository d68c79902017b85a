"""A PAC-Bayes bound as the objective (`functional.pac_bayes`): the error on new tasks that is guaranteed.

    loss_i = e_i + sqrt((D + d_i + log(2 n m / delta)) / (2 (m - 1))) + sqrt((D + log(2 n / delta)) / (2 (n - 1)))

whose mean over all n tasks is the bound of Amit & Meir 2018, theorem 2. It is of the support's rows alone; the query is
left for measuring.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from quickstudy.batching import adapt, count, map_tasks
from quickstudy.core import Examples, Learner, State, Task
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.pac_bayes import BOUNDS, Bound
from quickstudy.registry import register


@runtime_checkable
class Bounded(Protocol):
    """A learner whose terms of a bound are known; its state has `divergence`, d_i."""

    def gibbs_errors(self, state: Any, rows: Examples) -> Tensor:
        """Return the mean error () in [0, 1]."""
        ...

    def hyper_divergence(self) -> Tensor:
        """Return D ()."""
        ...


@register("objective", why="a guaranteed error on new tasks")
class PACBayes(Objective):
    """A PAC-Bayes bound on the error in new tasks, of tasks without padding.

    Args:
        tasks: n, how many tasks there are to learn from.
        delta: probability that the bound does not hold.
        bound: 'amit-meir' or 'pacoh'.

    Raises:
        InputError: fewer than two tasks, a delta outside 0 to 1, an unknown bound; when called, a learner without the
            terms, or tasks with padding.
    """

    def __init__(self, tasks: int = 100, delta: float = 0.05, bound: str = "amit-meir") -> None:
        super().__init__()
        if tasks < 2 or not 0 < delta < 1:
            raise InputError(f"{tasks=} must be 2 or more, and {delta=} between 0 and 1")
        if bound not in BOUNDS:
            raise unknown_name("bound", bound, BOUNDS)
        self.tasks, self.delta, self.bound = tasks, delta, bound

    def terms(self, learner: Learner, errors: Tensor, divergences: Tensor, rows: int) -> Bound:
        """Return the bound given e_i (n,) and d_i (n,) of tasks with so many rows each."""
        return BOUNDS[self.bound](
            errors, divergences, self._check(learner).hyper_divergence(), rows, self.tasks, self.delta
        )

    def of(self, learner: Learner, tasks: Task) -> Bound:
        """Return the bound of a meta-trained learner, given all tasks (n, ...) that it has learned from.

        Raises:
            InputError: these are not n tasks, or the learner lacks the terms.
        """
        bounded = self._check(learner)
        if count(tasks) != self.tasks:
            raise InputError(f"the bound is of {self.tasks} tasks, all that were learned from, but {count(tasks)} came")
        with torch.no_grad():
            states = adapt(learner, tasks.support)
            errors = map_tasks(bounded.gibbs_errors, states, tasks.support)
            return self.terms(learner, errors, states.divergence, _rows(tasks.support, 1))

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the bound with one task in place of all."""
        error = self._check(learner).gibbs_errors(state, task.support)
        return self.terms(learner, error, state.divergence, _rows(task.support)).total

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the bound with one task in place of all."""
        self._check(learner)
        return self.after(learner, learner.adapt(task.support), task, key)

    def refuses(self, learner: Learner) -> str | None:
        """Need the terms of the bound, and features that a task's rows do not change."""
        if isinstance(learner, Bounded):
            if learner.batch_norm in ("frozen", "none"):
                return None
            return "a PAC-Bayes bound needs features that no row of a task changes; pass batch_norm='frozen'"
        return f"{type(learner).__name__} does not say what a PAC-Bayes bound needs; use learners.GibbsClassifier"

    def _check(self, learner: Learner) -> Bounded:
        reason = self.refuses(learner)
        if reason is not None or not isinstance(learner, Bounded):
            raise InputError(str(reason))
        return learner


def _rows(support: Examples, dimension: int = 0) -> int:
    """Return m."""
    if support.mask is not None:
        raise InputError("a PAC-Bayes bound is of tasks with as many rows each; these have padding (variable shots)")
    return support.labels.shape[dimension]
