"""What an objective is, and what helps to make one of another.

An objective is called as `(learner, task, key) -> scalar loss of ONE task`: a function, or a module whose buffers are
part of what is recorded. Whatever else it has is found by name:

    after(learner, state, task, key) -> ()   its value given the state that `adapt` returned: what is judged is the end
    weight(step, steps) -> ()                it is a sum along the inner loop: the weight of the loss on the query after
                                             inner step number 1..steps; all weights sum to 1
    combine(losses (T,)) -> ()               how the losses of a meta-batch become one, differentiable; else their mean
    reward(answers, query) -> (Q,)           judges class numbers (Q,) or targets (Q, ...), without a derivative
    differentiable                           False where the loss has no gradient; else True
    refuses(learner) -> str | None           why it is not for such a learner
    schedule(done)                           is told before each outer step what share of them is done, 0 to 1

Classes may be named by a string where their arguments all have defaults.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from quickstudy.batching import Objective
from quickstudy.core import Examples, Learner, Task
from quickstudy.errors import InputError
from quickstudy.registry import lookup


def named(objective: Objective | str) -> Objective:
    """Return an objective itself, or the registered one of a name, built with its defaults.

    Raises:
        InputError: the name is unknown, or the objective cannot be called.
    """
    found: Any = lookup("objective", objective).build if isinstance(objective, str) else objective
    found = found() if isinstance(found, type) else found
    if not callable(found):
        raise InputError(f"an objective is a function (learner, task, key) -> loss or its name, not {objective!r}")
    return found  # type: ignore[no-any-return]


class Wrapper(nn.Module):
    """Base of objectives made of another one, whose attributes named in `passed` are also its own.

    Args:
        of: the other objective, or its name.
    """

    passed: ClassVar[tuple[str, ...]]

    def __init__(self, of: Objective | str) -> None:
        super().__init__()
        self.of = named(of)

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the other objective's loss of one task."""
        return self.of(learner, task, key)

    def refuses(self, learner: Learner) -> str | None:
        """Refuse what the other objective refuses."""
        refuses = getattr(self.of, "refuses", None)
        return None if refuses is None else refuses(learner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name) if name in self.passed else super().__getattr__(name)


def joined(support: Examples, query: Examples) -> Examples:
    """Return the rows of both, those of the support first."""
    return support.joined(query)
