"""A stochastic linear classifier with a learned prior, all of whose PAC-Bayes terms are in closed form.

Amit & Meir 2018, "Meta-Learning by Adjusting Priors Based on Extended PAC-Bayes Theory", sections 3 and 4: a
hyper-posterior N(theta; omega, kappa^2 I) over the means theta of priors N(w; theta, s^2 I) over weights. Here for each
class n a linear classifier, class n against the rest, with targets y_n = +1, -1:

    m(theta) = argmin_w sum_i (y_n,i - w x_i)^2 / noise^2 + |w - theta|^2 / s^2 = B^-1 (X'y / noise^2 + theta / s^2)
    Q(S, theta) = N(m(theta), sigma^2 I)

m is affine in theta, so with theta drawn too w is normal, and the error of sign(w x), averaged over theta, w and the N
classifiers, is a mean of normal distribution functions; no sample is drawn. Two classes have one classifier.
Learned across tasks: omega and kappa. The base learner (s, sigma, noise) and the hyper-prior N(0, 1) are fixed: the
theorems are for a base learner that does not depend on the tasks.
Departures: the posterior is this ridge regression instead of the bound's own minimiser, and its width is fixed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, masked_mean
from quickstudy.errors import InputError
from quickstudy.functional.narrow import single
from quickstudy.functional.pac_bayes import gaussian_kl
from quickstudy.learners.bases.labelled import LabelledLearner
from quickstudy.operators import trees
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register

TINY = 1e-30
"""Shares of votes below are as good as none; their logarithm stays finite."""


class Weights(NamedTuple):
    """The normal distribution of one task's weights, theta drawn too."""

    mean: Tensor
    """(C, D) mean weights of each classifier."""
    covariance: Tensor
    """(D, D) covariance, the same for all classifiers."""
    divergence: Tensor
    """() mean KL divergence d of the posterior from its prior, in nats."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="model", learns="prior", paper="Amit & Meir 2018", tasks="classification")
class GibbsClassifier(LabelledLearner):
    """Stochastic linear classifier whose prior is meta-learned, for PAC-Bayes bounds.

    Args:
        net: fixed features (its parameters are not trained) or None for the inputs themselves.
        ways: N.
        features: D, numbers that the net or the inputs give; None reads it from `net.features`.
        prior: s, standard deviation of priors.
        posterior: sigma, standard deviation of posteriors.
        noise: of the targets, in the ridge regression.
        batch_norm: 'frozen', or 'support' or 'transductive', for which no bound holds.

    Raises:
        InputError: a number that is not positive or not known; in `adapt`, a task of other ways or features.
    """

    def __init__(
        self,
        net: nn.Module | None,
        ways: int,
        features: int | None = None,
        prior: float = 0.3,
        posterior: float = 0.1,
        noise: float = 1.0,
        batch_norm: BatchNormPolicy = "frozen",
    ) -> None:
        super().__init__(net, ways, features, batch_norm)
        if ways < 2 or min(prior, posterior, noise) <= 0:
            raise InputError(f"{ways=} must be 2 or more, {prior=}, {posterior=} and {noise=} positive")
        self.net.requires_grad_(False)
        self.ways, self.prior, self.posterior, self.noise = ways, prior, posterior, noise
        self.omega = nn.Parameter(torch.zeros(1 if ways == 2 else ways, self.size))
        self.log_kappa = nn.Parameter(torch.tensor(math.log(0.3)))

    def adapt(self, support: Examples) -> Weights:
        """Solve for the posterior."""
        if support.ways != self.ways:
            raise InputError(f"GibbsClassifier was built for {self.ways} ways, the task has {support.ways}")
        rows = trees.map_only(Tensor, single, self.read(support))
        x, signs = torch.where(rows.real.unsqueeze(1), rows.features, 0), self._signs(support.labels)
        eye, s2 = torch.eye(x.shape[1], dtype=x.dtype, device=x.device), self.prior**2
        kept = torch.linalg.inv(x.mT @ x * (s2 / self.noise**2) + eye)
        mean = (self.omega + signs.mT @ x * (s2 / self.noise**2)) @ kept
        kappa2 = (2 * self.log_kappa).exp()
        covariance = kappa2 * kept @ kept.mT + self.posterior**2 * eye
        std = mean.new_tensor(self.posterior)
        # The gap of m(theta) from theta varies with theta by kept - 1.
        moves = len(mean) * kappa2 * (kept - eye).square().sum() / (2 * s2)
        divergence = gaussian_kl(mean, std, self.omega, mean.new_tensor(self.prior)) + moves
        return Weights(mean, covariance, divergence, rows.present, rows.statistics)

    def predict(self, state: Weights, inputs: Any) -> Tensor:
        """Return logits (Q, N): log-odds of each classifier's vote, or with two classes of the one."""
        z = self._margins(state, inputs)
        odds = _share(z).clamp_min(TINY).log() - _share(-z).clamp_min(TINY).log()
        if self.ways == 2:
            odds = torch.cat([torch.zeros_like(odds), odds], 1)
        return self.answer(odds, state.present)

    def gibbs_errors(self, state: Weights, rows: Examples) -> Tensor:
        """Return the mean error () in [0, 1] on rows of classifiers that are drawn; without knowledge it is 1/2."""
        z = self._margins(state, rows.inputs) * self._signs(rows.labels)
        return masked_mean(_share(-z).mean(1), rows.mask)

    def hyper_divergence(self) -> Tensor:
        """Return D () in nats, of N(omega, kappa^2 I) from N(0, I)."""
        one = torch.ones_like(self.log_kappa)
        return gaussian_kl(self.omega, self.log_kappa.exp(), torch.zeros_like(self.omega), one)

    def _margins(self, state: Weights, inputs: Any) -> Tensor:
        x = single(self.embed(inputs, state.statistics))
        return x @ state.mean.mT / ((x @ state.covariance) * x).sum(1, keepdim=True).clamp_min(1e-12).sqrt()

    def _signs(self, labels: Tensor) -> Tensor:
        classes = torch.ones(1, dtype=torch.long, device=labels.device)
        if self.ways > 2:
            classes = torch.arange(self.ways, device=labels.device)
        return 2 * (labels.unsqueeze(1) == classes).to(single(self.omega).dtype) - 1


def _share(z: Tensor) -> Tensor:
    """Return the standard normal distribution function; by erfc, exact far below zero and known to vmap."""
    return torch.erfc(-z / math.sqrt(2)) / 2
