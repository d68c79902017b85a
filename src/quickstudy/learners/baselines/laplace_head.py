"""Laplace approximation of the head on meta-learned features.

MacKay 1992, "A Practical Bayesian Framework for Backpropagation Networks"; Daxberger et al. 2021, "Laplace Redux"
(last-layer Laplace). With features f(x), one more of which is 1, and the prior N(0, I / precision) of the head w:

    w* = argmax log p(support | w) + log p(w),   q(w) = N(w*, T H^-1),   H = -d^2/dw^2 of the same at w*

For regression q is the exact posterior (T = 1) and the prediction is in closed form; for classification w* is found by
Newton's method and p(y | x) is the mean over draws from q. Learned across tasks for the likelihood of the query: f, the
precision and the noise. Regression is as in Harrison et al. 2018, "Meta-Learning Priors for Efficient Online Bayesian
Regression", with the prior's mean at zero. Classification also learns the temperature T, which begins at 1 (Wenzel et
al. 2020, "How Good is the Bayes Posterior in Deep Neural Networks Really?"), since curvature at the mode says too
little of a posterior that is not normal. Departure: nothing is fitted after training, and everything is learned through
q.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.classes import mask_absent
from quickstudy.functional.narrow import single
from quickstudy.functional.predictive import Gaussian
from quickstudy.learners.bases.head_belief import HeadBeliefLearner, drawn, with_bias
from quickstudy.learners.bases.labelled import Rows
from quickstudy.operators import trees
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class HeadPosterior(NamedTuple):
    """The state of one task."""

    mean: Tensor
    """(D + 1, outputs) mean w* of the head."""
    factor: Tensor
    """(D + 1, D + 1) factor L of H = L L^T, shared by all outputs; for classes over all numbers of w*."""
    draws: Tensor | tuple[()]
    """(L, D + 1, outputs) draws of the head; empty for regression."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="baseline", learns="features", paper="Daxberger et al. 2021", tasks="both")
class LaplaceHead(HeadBeliefLearner):
    """Bayesian head on learned features: exact for regression, Laplace's approximation for classification.

    Solves a system of (D + 1) outputs unknowns for classification, so features should be few.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        samples: draws L of the head that a classification averages over.
        newton: steps of Newton's method.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        precision: of the prior to begin with, learned.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: a number that is not positive, or the size of the embedding is not known.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        samples: int = 16,
        newton: int = 5,
        noise: float = 0.5,
        precision: float = 1.0,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, samples, noise, batch_norm)
        if min(newton, precision) <= 0:
            raise InputError(f"{newton=} and {precision=} must be positive")
        self.newton = newton
        self.log_precision = nn.Parameter(torch.tensor(math.log(precision)))
        self.log_temperature = nn.Parameter(torch.tensor(0.0))

    def adapt(self, support: Examples, key: Tensor | None = None) -> HeadPosterior:
        """Find the posterior of the head; draw from it for classification."""
        rows = trees.map_only(Tensor, single, self.read(support))
        features = with_bias(rows.features)
        features = torch.where(rows.real.unsqueeze(1), features, torch.zeros_like(features))
        if support.ways is None:
            return self._exact(features, rows)
        w = torch.zeros(features.shape[1], self.outputs, dtype=features.dtype, device=features.device)
        for _ in range(self.newton):
            gradient, hessian = self._derivatives(w, features, rows)
            w = w - torch.linalg.solve(hessian, gradient.flatten()).reshape(w.shape)
        factor = torch.linalg.cholesky(self._derivatives(w, features, rows)[1])
        noise = random.normal(drawn(key), self.samples, w.numel(), dtype=w.dtype)
        moved = (self.log_temperature / 2).exp() * torch.linalg.solve_triangular(factor.mT, noise.mT, upper=True).mT
        return HeadPosterior(w, factor, w + moved.reshape(-1, *w.shape), rows.present, rows.statistics)

    def marginal(self, state: HeadPosterior, features: Tensor) -> Gaussian:
        """Return the mean over all heads in closed form."""
        features = single(features)
        mean = features @ state.mean
        solved = torch.linalg.solve_triangular(state.factor, features.mT, upper=False)
        variance = solved.square().sum(0) + (2 * self.log_noise).exp()
        return Gaussian(mean, variance.sqrt().unsqueeze(1).expand_as(mean))

    def _exact(self, features: Tensor, rows: Rows) -> HeadPosterior:
        weight = (-2 * self.log_noise).exp()
        eye = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        factor = torch.linalg.cholesky(weight * features.mT @ features + self.log_precision.exp() * eye)
        mean = torch.cholesky_solve(weight * features.mT @ rows.labels, factor)
        return HeadPosterior(mean, factor, (), rows.present, rows.statistics)

    def _derivatives(self, w: Tensor, features: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the gradient (D + 1, outputs) and Hessian, square of as many numbers, of minus the log-posterior."""
        # Classes that the task lacks have probability zero and keep their prior.
        shown = rows.labels.sum(0) > 0
        p = torch.softmax(mask_absent(features @ w, shown), 1)
        precision = self.log_precision.exp()
        gradient = features.mT @ (p - rows.labels) + precision * w
        curvature = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
        blocks = torch.einsum("sd,se,snm->dnem", features, features, curvature)
        eye = torch.eye(w.numel(), dtype=w.dtype, device=w.device)
        return gradient, blocks.reshape(w.numel(), w.numel()) + precision * eye
