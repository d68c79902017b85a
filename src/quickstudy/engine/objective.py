"""The base of objectives: the loss of ONE task, and whatever else an outer loop asks of it.

    loss = L(task)                                  `forward`: all that an objective must have
    loss = L(state of the inner loop's end)         where it judges the end of learning: `after`
    loss = sum_t w_t L(state after inner step t)    where it judges the way there: `after` and `weight`

A function `(learner, task, key) -> loss` is made an objective by `lifted`, or where it is defined by the decorator
`objective`. Everything else has a default, so that nobody has to ask whether it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Learner, State, Task
from quickstudy.errors import InputError, unknown_name

LossOfTask = Callable[[Learner, Task, Tensor], Tensor]
"""(learner, task, key) -> scalar loss of one task."""


class Objective(nn.Module):
    """Base of objectives. A subclass implements `after`, if it judges states of an inner loop, or else `forward`.

    Its buffers may change between outer steps; all else is constant in a step that is recorded.
    """

    config: dict[str, Any]
    """How to build this objective again, where its class is registered."""

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the scalar loss of one task: of the state that adapting to its support gives."""
        return self.after(learner, learner.learn(task.support, key), task, key)

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the loss () of a state that a learner has reached in a task."""
        raise NotImplementedError

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the weight of the state after inner step number `step` (any shape) of 1..steps; they sum to 1.

        The default is 1 for the last step and 0 for those before it.
        """
        return (step == steps).to(torch.get_default_dtype())

    def combine(self, losses: Tensor) -> Tensor:
        """Return what the losses (T,) of a meta-batch become: a differentiable scalar, by default their mean."""
        return losses.mean()

    def reward(self, answers: Tensor, query: Examples) -> Tensor:
        """Return the rewards (Q,) of answers: class numbers (Q, ...) or targets (Q, ...)."""
        raise NotImplementedError

    def refuses(self, learner: Learner) -> str | None:
        """Return why this is no objective for a learner, or None if it is one."""
        return None

    def schedule(self, done: float) -> None:
        """Take note, before an outer step, of the share of outer steps that is done, 0 to 1."""

    @property
    def name(self) -> str:
        """The name that messages and run folders give it."""
        return type(self).__name__

    @property
    def differentiable(self) -> bool:
        """Whether the loss has a derivative."""
        return True

    @property
    def judges_states(self) -> bool:
        """Whether the loss is a sum over an inner loop's states, each judged by `after`, with `weight`."""
        return self._has("after")

    @property
    def judges_end(self) -> bool:
        """Whether the loss is `after` of the state that adapting gives, and of no other."""
        return self.judges_states

    @property
    def compares_tasks(self) -> bool:
        """Whether the losses of a meta-batch become another thing than their mean."""
        return self._has("combine")

    @property
    def rewards(self) -> bool:
        """Whether the loss is minus a `reward` of the learner's answers."""
        return self._has("reward")

    @property
    def learners_own(self) -> bool:
        """Whether the loss is the learner's own on the query after adapting, and nothing else."""
        return False

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Objective, method)


class Lifted(Objective):
    """A function of one task as an objective.

    Args:
        loss: the function; a module stays part of the objective.
        learners_own: whether it is the learner's own loss on the query (see `Objective.learners_own`).
        differentiable: whether it has a derivative.
        methods: functions in place of the methods of `Objective` of those names.

    Raises:
        InputError: an objective has no such method.
    """

    def __init__(
        self,
        loss: LossOfTask,
        learners_own: bool = False,
        differentiable: bool = True,
        **methods: Callable[..., Any] | None,
    ) -> None:
        super().__init__()
        for name in methods:
            if name not in METHODS:
                raise unknown_name("method of an objective", name, METHODS)
        self.loss, self._own, self._differentiable = loss, learners_own, differentiable
        self.methods = {name: method for name, method in methods.items() if method is not None}
        # Known by the function's name and documentation, also to tools that look at it.
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            object.__setattr__(self, name, getattr(loss, name, getattr(type(loss), name)))
        object.__setattr__(self, "__wrapped__", loss)
        if hasattr(loss, "config"):
            self.config = loss.config

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the function's loss of one task."""
        return self.loss(learner, task, key)

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the loss of a state, where there is a function for it."""
        return self._call("after", learner, state, task, key)  # type: ignore[no-any-return]

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the weight of a state."""
        return self._call("weight", step, steps)  # type: ignore[no-any-return]

    def combine(self, losses: Tensor) -> Tensor:
        """Return what the losses (T,) become."""
        return self._call("combine", losses)  # type: ignore[no-any-return]

    def reward(self, answers: Tensor, query: Examples) -> Tensor:
        """Return the rewards (Q,) of answers, where there is a function for them."""
        return self._call("reward", answers, query)  # type: ignore[no-any-return]

    def refuses(self, learner: Learner) -> str | None:
        """Return why this is no objective for a learner, or None if it is one."""
        return self._call("refuses", learner)  # type: ignore[no-any-return]

    def schedule(self, done: float) -> None:
        """Tell the function for it what share of outer steps is done."""
        self._call("schedule", done)

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.__name__)

    @property
    def differentiable(self) -> bool:
        """Whether the function has a derivative."""
        return self._differentiable

    @property
    def learners_own(self) -> bool:
        """Whether the function is the learner's own loss."""
        return self._own

    def _call(self, method: str, *arguments: Any) -> Any:
        given = self.methods.get(method)
        return getattr(super(), method)(*arguments) if given is None else given(*arguments)

    def _has(self, method: str) -> bool:
        return method in self.methods


METHODS = ("after", "weight", "combine", "reward", "refuses", "schedule")
"""What a function or a module of one's own may have besides its loss: methods of `Objective`."""


def objective(
    learners_own: bool = False, differentiable: bool = True, **methods: Callable[..., Any]
) -> Callable[[LossOfTask], Lifted]:
    """Return a decorator that makes a function of one task an objective.

    Args:
        learners_own: whether it is the learner's own loss on the query after adapting.
        differentiable: whether it has a derivative.
        methods: functions in place of the methods of `Objective` of those names, such as `refuses`.

    Raises:
        InputError: an objective has no such method, or the decorator is used without parentheses.
    """
    if callable(learners_own):
        raise InputError("the decorator needs parentheses, also where it has no arguments: @objective()")
    return lambda function: Lifted(function, learners_own, differentiable, **methods)


def lifted(loss: Objective | LossOfTask) -> Objective:
    """Return an objective itself, or the one that is made of a function or of a module of the same attributes."""
    if isinstance(loss, Objective):
        return loss
    methods: dict[str, Any] = {name: getattr(loss, name, None) for name in METHODS}
    return Lifted(loss, differentiable=getattr(loss, "differentiable", True), **methods)
