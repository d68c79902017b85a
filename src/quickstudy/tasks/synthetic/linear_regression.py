"""Linear regression in D dimensions: the in-context learner's test bed, whose best predictor is a ridge regression."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.data.few_shot import Range, parse_range


@register("tasks")
class LinearRegression(TaskDistribution):
    """y = w x + noise with w and x standard normal in D dimensions, w scaled so that w x has variance 1.

    Garg et al. 2022, "What Can Transformers Learn In-Context?", section 2. With the prior N(0, I / D) of w, the
    posterior mean is the ridge regression of penalty D noise^2 (`learners.Ridge`). Queries have no noise.

    Args:
        dimensions: D.
        shots: support rows a task, a number or a range (low, high) drawn for each task and padded.
        queries: query rows a task.
        noise: standard deviation of the noise on support targets.
        seed: the stream's seed.

    Raises:
        InputError: a number that is not positive (noise may be 0).
    """

    name = "linear-regression"
    metric = "mse"

    def __init__(
        self, dimensions: int = 4, shots: Range = 8, queries: int = 16, noise: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__(seed)
        if dimensions < 1 or queries < 1 or noise < 0:
            raise InputError(f"{dimensions=} and {queries=} must be at least 1, and {noise=} 0 or more")
        self.fewest, self.most = parse_range("shots", shots)
        self.dimensions, self.shots, self.queries, self.noise = dimensions, shots, queries, noise

    def plan(self, indices: Tensor) -> Plan:
        """Draw weights, inputs, noise and the number of support rows."""
        keys, d = self.keys(indices), self.dimensions
        span = self.most - self.fewest + 1
        return {
            "w": random.normal(random.fold_in(keys, 1), d) / math.sqrt(d),
            "x": random.normal(random.fold_in(keys, 2), self.most + self.queries, d),
            "noise": self.noise * random.normal(random.fold_in(keys, 3), self.most),
            "shown": self.fewest + random.below(random.fold_in(keys, 4), span),
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, D) and targets (T, S, 1)."""
        x, k = plan["x"], self.most
        y = torch.einsum("tsd,td->ts", x, plan["w"])
        mask = None
        if self.fewest < self.most:
            mask = torch.arange(k, device=x.device) < plan["shown"].unsqueeze(1)
        support = Examples(x[:, :k], (y[:, :k] + plan["noise"]).unsqueeze(-1), mask, check=False)
        return Task(support, Examples(x[:, k:], y[:, k:].unsqueeze(-1), check=False))

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        shots = self.fewest if self.fewest == self.most else [self.fewest, self.most]
        facts = {"dimensions": self.dimensions, "shots": shots, "queries": self.queries, "noise": self.noise}
        return {**super().describe(), **facts}
