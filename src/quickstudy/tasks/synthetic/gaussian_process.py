"""Regression tasks that are draws of a Gaussian process (Garnelo et al. 2018; Kim et al. 2019, section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.kernels import kernel_of
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.data.few_shot import Range
from quickstudy.tasks.synthetic.functions import FunctionTasks

JITTER = 1e-6
"""Added to the diagonal of the covariance so that it has a Cholesky factor; far below any noise worth the name."""


@register("tasks")
class GaussianProcess(FunctionTasks):
    """y = f(x) + noise with f a draw of a Gaussian process of mean 0 and variance 1, x uniform in [-2, 2].

    Each task draws its length scale anew. The best possible prediction is known: `learners.ExactGP` gives it. Queries
    are noisy as the support is. Measured by log-likelihood.

    Args:
        kernel: 'rbf', 'matern12', 'matern32', 'matern52' or 'periodic' (of period 1).
        length_scale: a number, or a range (low, high) drawn uniformly for each task.
        shots: support points a task, a number or a range (low, high) drawn for each task.
        queries: query points a task.
        noise: standard deviation of the noise on all targets.
        seed: the stream's seed.

    Raises:
        InputError: unknown kernel, or a length scale that is not positive.
    """

    name = "gaussian-process"
    metric = "log_likelihood"
    low, high = -2.0, 2.0
    noisy_queries = True

    def __init__(
        self,
        kernel: str = "rbf",
        length_scale: float | tuple[float, float] = (0.2, 0.6),
        shots: Range = (3, 50),
        queries: int = 50,
        noise: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(shots, queries, noise, seed)
        self._covariance = kernel_of(kernel)
        ends = (length_scale, length_scale) if isinstance(length_scale, (int, float)) else tuple(length_scale)
        if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
            raise InputError(f"length_scale must be a positive number or a range (low, high), not {length_scale}")
        self.kernel, self.length_scale = kernel, (float(ends[0]), float(ends[1]))

    def parameters(self, keys: Tensor) -> Plan:
        """Draw a length scale, and what a Cholesky factor turns into function values."""
        low, high = self.length_scale
        return {
            "length_scale": low + (high - low) * random.uniform(random.fold_in(keys, 1)),
            "white": random.normal(random.fold_in(keys, 2), self.most + self.queries),
        }

    def evaluate(self, parameters: Plan, x: Tensor) -> Tensor:
        """Return L white, where L is the Cholesky factor of the covariance of the values at x."""
        # In double precision: the covariance of close points is nearly singular.
        x, length_scale = x.double(), parameters["length_scale"].double().reshape(-1, 1, 1)
        covariance = self._covariance((x.unsqueeze(-1) - x.unsqueeze(-2)).abs(), length_scale)
        factor = torch.linalg.cholesky(covariance + JITTER * torch.eye(x.shape[1], dtype=x.dtype, device=x.device))
        values: Tensor = (factor @ parameters["white"].double().unsqueeze(-1)).squeeze(-1)
        return values.to(parameters["white"].dtype)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "kernel": self.kernel, "length_scale": list(self.length_scale)}
