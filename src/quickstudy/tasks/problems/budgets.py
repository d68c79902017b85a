"""Problems that are to be solved in so many steps, from few to many."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.problem import Problem
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution


@register("tasks")
class Budgets(TaskDistribution):
    """Optimisation problems, each with a number of steps to solve it in, its logarithm uniform.

    Args:
        problems: the problems.
        steps: fewest and most steps.
        seed: the stream's seed, of problems and steps; None takes the problems' own.

    Raises:
        InputError: the range is empty or not positive, or the tasks are no problems.
    """

    def __init__(self, problems: TaskDistribution, steps: tuple[int, int], seed: int | None = None) -> None:
        super().__init__(problems.seed if seed is None else seed)
        if not 1 <= steps[0] <= steps[1]:
            raise InputError(f"steps must be a range (fewest, most) from 1 up, not {steps}")
        self.problems, self.steps, self.longest = problems, steps, steps[1]
        self.name, self.metric, self.uniform = problems.name, problems.metric, problems.uniform

    def plan(self, indices: Tensor) -> Plan:
        """Return the problems' plan, and their steps (T,)."""
        low, high = torch.tensor([self.steps[0], self.steps[1] + 1]).log().tolist()
        share = random.uniform(random.fold_in(self.keys(indices), 11), dtype=torch.float64)
        steps = torch.exp(low + (high - low) * share).long().clamp(*self.steps)
        # The problems of this stream, not of their own: a bank has another seed.
        problems = copy.copy(self.problems)
        problems.seed = self.seed
        return {**problems.plan(indices), "steps": steps}

    def gather(self, plan: Plan) -> Task:
        """Return the problems of a plan."""
        task = self.problems.gather({name: value for name, value in plan.items() if name != "steps"})
        old = task.support
        if not isinstance(old, Problem):
            raise InputError(f"{self.problems.name} draws no optimisation problems, so they have no number of steps")
        return Task(Problem(old.inputs, old.labels, old.start, old.mask, old.ways, plan["steps"]), task.query)

    def kinds(self, plan: Plan) -> Tensor:
        """Return which problems of a plan can be batched."""
        return self.problems.kinds(plan)

    def to(self, device: torch.device | str) -> Self:
        """Move the problems."""
        self.problems.to(device)
        return super().to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the problems' classes."""
        return self.problems.classes

    @property
    def fingerprint(self) -> str:
        """Hash of the problems' data."""
        return self.problems.fingerprint

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems and their steps."""
        return {**self.problems.describe(), "seed": self.seed, "steps": list(self.steps)}
