"""Gaussian process regression with a known kernel: the best that any learner can do on draws of that process.

Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", equations 2.25, 2.26 and 2.30:

    mean(x) = k(x)^T (K + s^2 I)^-1 y,   variance(x) = k(x, x) - k(x)^T (K + s^2 I)^-1 k(x) + s^2
    log p(y) = -1/2 y^T (K + s^2 I)^-1 y - sum_i log L_ii - S/2 log 2 pi,   L L^T = K + s^2 I

Where the length scale is not known but drawn from a list, the exact prediction is the mixture of the predictions of all
of them, each weighted by its likelihood p(y). Nothing is learned across tasks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.checks import flat_rows
from quickstudy.functional.kernels import kernel_of
from quickstudy.functional.narrow import single
from quickstudy.functional.predictive import GaussianMixture
from quickstudy.registry import register


class Posterior(NamedTuple):
    """The state of one task, for each of G length scales."""

    inputs: Tensor
    """(S, D) inputs of the support."""
    rows: Tensor
    """(S,) False in padding rows."""
    factor: Tensor
    """(G, S, S) lower triangular factor L."""
    alpha: Tensor
    """(G, S) solution (K + s^2 I)^-1 y."""
    log_weights: Tensor
    """(G,) logarithms of the weights of the length scales."""


@register("learner", family="baseline", learns="nothing", paper="Rasmussen & Williams 2006", tasks="regression")
class ExactGP(Learner):
    """The exact posterior of a Gaussian process of mean 0 and variance 1, with one target a row.

    Args:
        kernel: 'rbf', 'matern12', 'matern32', 'matern52' or 'periodic' (of period 1).
        length_scales: those that are possible, equally likely beforehand. A fine grid stands for a range.
        noise: standard deviation of the noise on targets.

    Raises:
        InputError: unknown kernel, or a number that is not positive.
    """

    def __init__(self, kernel: str = "rbf", length_scales: tuple[float, ...] = (0.4,), noise: float = 0.1) -> None:
        super().__init__()
        self._covariance = kernel_of(kernel)
        if not length_scales or min(length_scales) <= 0 or noise <= 0:
            raise InputError(f"length_scales={length_scales} and noise={noise} must be positive")
        self.length_scales, self.noise = tuple(length_scales), noise

    def adapt(self, support: Examples) -> Posterior:
        """Factor the covariance of the support for each length scale."""
        if support.ways is not None or support.labels.numel() != len(support.labels):
            raise InputError(f"ExactGP regresses one target a row, not labels {tuple(support.labels.shape)}")
        x, y = single(flat_rows(support.inputs)), single(support.labels.flatten())
        rows = support.counted
        eye = torch.eye(len(y), dtype=y.dtype, device=y.device)
        # A padding row is independent of all others, of variance 1 and value 0: it adds nothing to any sum.
        both = rows.unsqueeze(1) & rows
        covariance = torch.where(both, self._kernel(x, x) + self.noise**2 * eye, eye)
        y = torch.where(rows, y, torch.zeros_like(y))
        factor = torch.linalg.cholesky(covariance)
        alpha = torch.cholesky_solve(y.expand(len(factor), -1).unsqueeze(-1), factor).squeeze(-1)
        log_likelihood = -0.5 * alpha @ y - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return Posterior(x, rows, factor, alpha, torch.log_softmax(log_likelihood, 0))

    def predict(self, state: Posterior, inputs: Any) -> GaussianMixture:
        """Return a mixture (Q, 1) of one normal distribution for each length scale."""
        cross = self._kernel(single(flat_rows(inputs)), state.inputs)
        cross = torch.where(state.rows, cross, torch.zeros_like(cross))
        means = torch.einsum("gqs,gs->qg", cross, state.alpha)
        solved = torch.linalg.solve_triangular(state.factor, cross.mT, upper=False)
        variances = 1 - solved.square().sum(1).mT
        # The noise is part of what is predicted, and bounds the variance where rounding would make it negative.
        stds = (variances.clamp_min(0) + self.noise**2).sqrt()
        return GaussianMixture(means.unsqueeze(-1), stds.unsqueeze(-1), state.log_weights.expand(len(means), -1))

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (G, A, B) covariances of rows of a (A, D) and b (B, D)."""
        distances = (a.unsqueeze(1) - b).square().sum(-1).sqrt()
        scales = torch.tensor(self.length_scales, dtype=a.dtype, device=a.device)
        return self._covariance(distances, scales.reshape(-1, 1, 1))
