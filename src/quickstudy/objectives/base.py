"""The base of objectives, and helpers that make one of another.

An objective is called as `(learner, task, key) -> scalar loss of ONE task`. It is a function, or a subclass of
`Objective` whose buffers are part of what is recorded. `engine.objective.Objective` says what else one may have:

    after(learner, state, task, key) -> ()   the loss of a state of the inner loop; without `weight` the end is judged
    weight(step, steps) -> ()                the weight of the state after inner step number 1..steps; they sum to 1
    combine(losses (T,)) -> ()               how the losses of a meta-batch become one, differentiable; else their mean
    reward(answers, query) -> (Q,)           judges class numbers (Q,) or targets (Q, ...), without a derivative
    differentiable                           False where the loss has no gradient; else True
    refuses(learner) -> str | None           why it is not for such a learner
    schedule(done)                           is told before each outer step what share of them is done, 0 to 1

A function may have them as attributes, or be given them by the decorator `objective`. Classes may be named by a string
where their arguments all have defaults.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from quickstudy.core import Examples, Learner, State, Task
from quickstudy.engine.objective import LossOfTask, Objective, lifted, objective
from quickstudy.errors import InputError
from quickstudy.functional.checks import takes
from quickstudy.registry import lookup

__all__ = ["LossOfTask", "Objective", "Wrapper", "joined", "named", "objective"]


def named(objective: Objective | LossOfTask | str) -> Objective:
    """Return an objective itself, one made of a function, or the registered one of a name with its defaults.

    Raises:
        InputError: the name is unknown, or the objective cannot be called.
    """
    found: Any = lookup("objective", objective).build if isinstance(objective, str) else objective
    found = found() if isinstance(found, type) else found
    if not callable(found):
        raise InputError(f"an objective is a function (learner, task, key) -> loss or its name, not {objective!r}")
    reason = None if isinstance(found, Objective) else takes(found, 3)
    if reason is not None:
        raise InputError(f"an objective must be a function (learner, task, key) -> loss, and {reason}")
    return lifted(found)


class Wrapper(Objective):
    """Base of objectives made of another one, which are in everything as that one is, but for what they override.

    Args:
        of: the other objective, or its name.
    """

    def __init__(self, of: Objective | LossOfTask | str) -> None:
        super().__init__()
        self.of = named(of)

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the other objective's loss of one task."""
        return self.of(learner, task, key)  # type: ignore[no-any-return]

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the other objective's loss of a state."""
        return self.of.after(learner, state, task, key)

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the other objective's weight of a state."""
        return self.of.weight(step, steps)

    def combine(self, losses: Tensor) -> Tensor:
        """Return what the other objective makes of the losses (T,)."""
        return self.of.combine(losses)

    def reward(self, answers: Tensor, query: Examples) -> Tensor:
        """Return the other objective's rewards (Q,)."""
        return self.of.reward(answers, query)

    def refuses(self, learner: Learner) -> str | None:
        """Refuse what the other objective refuses."""
        return self.of.refuses(learner)

    def schedule(self, done: float) -> None:
        """Tell the other objective what share of outer steps is done."""
        self.of.schedule(done)

    @property
    def differentiable(self) -> bool:
        """Whether the other objective has a derivative."""
        return self.of.differentiable

    @property
    def judges_end(self) -> bool:
        """Whether the other objective judges the end alone."""
        return self.of.judges_end

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Wrapper, method) or self.of._has(method)


def joined(support: Examples, query: Examples) -> Examples:
    """Return the rows of both, those of the support first."""
    return support.joined(query)
