"""Why a meta-training cannot be started: each part is asked, and nobody keeps a list."""

from __future__ import annotations

from quickstudy.core import Learner
from quickstudy.engine.objective import Objective
from quickstudy.outer.base import Outer
from quickstudy.tasks.base import TaskDistribution


def refusal(outer: Outer, learner: Learner, objective: Objective) -> str | None:
    """Return why an outer optimiser cannot train a learner for an objective, or None if it can."""
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        return f"{type(learner).__name__} has no parameter to meta-train; evaluate it as it is"
    reason = objective.refuses(outer.as_trained(learner))
    return outer.refuses(learner, objective) if reason is None else reason


def too_long(learner: Learner, tasks: TaskDistribution) -> str | None:
    """Return why a learner cannot make as many inner steps as its tasks may ask for, or None if it can."""
    steps = getattr(learner, "inner_steps", None)
    if tasks.longest is None or steps is None or steps >= tasks.longest:
        return None
    return (
        f"tasks give up to {tasks.longest} steps, but {type(learner).__name__} makes {steps}; build it with "
        f"steps={tasks.longest} (and test_steps, if set, as many)"
    )
