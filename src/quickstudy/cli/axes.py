"""The map of the four axes: which outer optimiser trains which learner for which objective, and why others do not.

Nothing here is a list that somebody keeps. Learners, outer optimisers, objectives and tasks are the registered ones.
The objective is asked which learners it `refuses`, and the outer optimiser which learners and objectives. `meta_train`
asks the same, so a combination that the map refuses cannot be started.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from quickstudy.core import Learner, Task
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.objectives.base import named
from quickstudy.outer import Gradient
from quickstudy.outer.base import Outer
from quickstudy.registry import table
from quickstudy.testing.specimens import (
    CLASSIFICATION,
    PROBLEMS,
    REGRESSION,
    WAYS,
    classification_task,
    mlp,
    problem_task,
    regression_task,
)
from quickstudy.training.refusals import refusal


@dataclass(frozen=True)
class Combination:
    """An outer optimiser, an objective and a learner, by name, and the reason why they do not go together, or None."""

    outer: str
    objective: str
    learner: str
    reason: str | None


def specimen(name: str) -> tuple[Learner, Task]:
    """Return a tiny learner of a registered name, with a task that it can learn.

    Raises:
        InputError: the learner has no specimen.
    """
    if name in CLASSIFICATION:
        return CLASSIFICATION[name](mlp, WAYS), classification_task()
    if name in REGRESSION:
        return REGRESSION[name](functools.partial(mlp, inputs=1), 1), regression_task()
    if name in PROBLEMS:
        return PROBLEMS[name](), problem_task()
    raise InputError(f"learner '{name}' has no specimen; add a line to quickstudy/testing/specimens.py")


def learners() -> dict[str, tuple[Learner, Task]]:
    """Return the specimen of every registered learner, by name."""
    return {name: specimen(name) for name in table("learner")}


def outers() -> dict[str, Outer]:
    """Return every registered outer optimiser with its defaults, and `Gradient` through an inner loop in every way."""
    found: dict[str, Outer] = {}
    for name, entry in table("outer").items():
        found[name] = entry.build()
        if name == "Gradient":
            ways = {way: entry.build() for way, entry in table("differentiation").items()}
            ways["Unrolled(checkpoint=1)"] = table("differentiation")["Unrolled"].build(checkpoint=1)
            ways["Implicit('neumann')"] = table("differentiation")["Implicit"].build("neumann")
            found |= {f"Gradient({way})": Gradient(through=through) for way, through in sorted(ways.items())}
    return found


def objectives() -> dict[str, Objective]:
    """Return every registered objective, with its defaults."""
    return {name: named(name) for name in table("objective")}


def combinations() -> Iterator[Combination]:
    """Yield every combination of the three axes, with the reason where it is refused."""
    specimens, goals = learners(), objectives()
    for outer_name, outer in outers().items():
        for goal_name, goal in goals.items():
            for name, (learner, _) in specimens.items():
                yield Combination(outer_name, goal_name, name, refusal(outer, learner, goal))
