"""The bound on the error on new tasks that a run was trained by, to be shown beside the measured error."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.evaluation import dtype_of
from quickstudy.objectives import PACBayes
from quickstudy.recipes import RecipeParts

OF_DRAWN_WEIGHTS = (
    "The bound is of answers by weights drawn anew for each; what is evaluated is the vote of such weights."
)
"""To be said wherever a bound is shown beside an evaluation."""


@dataclass(frozen=True)
class Guarantee:
    """A PAC-Bayes bound on the error on new tasks: the sum of its three terms.

    Attributes:
        total: the bound.
        empirical: error on the rows learned from.
        task: what learning each task from few rows may add.
        environment: what learning from few tasks may add.
        tasks: learned from.
        probability: that it holds.
    """

    total: float
    empirical: float
    task: float
    environment: float
    tasks: int
    probability: float

    def __str__(self) -> str:
        return (
            f"{self.total:.4f} = {self.empirical:.4f} on rows learned from + {self.task:.4f} for few rows + "
            f"{self.environment:.4f} for few tasks ({self.tasks} of them; holds with probability {self.probability:g})"
        )


def guarantee(learner: Learner, plan: RecipeParts) -> Guarantee | None:
    """Return the bound of a learner on all tasks that it learned from, or None if it was not trained by one."""
    objective = plan.options.get("objective")
    if not isinstance(objective, PACBayes):
        return None
    tasks, dtype = plan.train.batch(0, objective.tasks), dtype_of(learner)
    tasks = tasks if dtype is None else batching.to_dtype(tasks, dtype)
    found = objective.of(learner, tasks)
    return Guarantee(
        total=float(found.total),
        empirical=float(found.empirical),
        task=float(found.task),
        environment=float(found.environment),
        tasks=objective.tasks,
        probability=1 - objective.delta,
    )
