"""PLATIPUS: MAML with a belief about where to start.

Finn, Xu & Levine 2018, "Probabilistic Model-Agnostic Meta-Learning", algorithms 1 and 2:

    p(theta | support) = N(mu - gamma_p grad L(mu, support), diag(sigma^2))
    q(theta | query)   = N(mu - gamma_q grad L(mu, query), diag(v))              (in meta-training only)
    phi = theta - lr grad L(theta, support)
    minimise  E_{theta ~ q} [-log p(query | phi)] + KL(q || p)                   (objective 'elbo')

Learned across tasks: mu, sigma, v and the noise of targets. `predict` gives the mixture over draws from
p(theta | support). Departure: gamma_p and gamma_q are fixed; one sigma and one v for each tensor, not for each number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, State
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian
from quickstudy.inner.adapted import Theta
from quickstudy.inner.loop import InnerState
from quickstudy.learners.bases.particles import ParticleLearner, Spread
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.operators.checkpointing import unroll
from quickstudy.registry import register
from quickstudy.rules import SGD


@register("learner", family="optimisation", learns="a distribution of starts", paper="Finn et al. 2018", tasks="both")
class PLATIPUS(ParticleLearner):
    """Probabilistic MAML: draws of where to start, each adapted by gradient steps.

    Args:
        net: any module; for classification it has `outputs` N.
        samples: draws L that a prediction averages over.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        prior_lr: gamma_p, the step on the support from mu to the mean of p.
        posterior_lr: gamma_q, the step on the query from mu to the mean of q.
        spread: standard deviations of p and q to begin with.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: a rate or deviation is not positive, or there is no sample.
    """

    default_objective = "elbo"

    def __init__(
        self,
        net: nn.Module,
        samples: int = 10,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        prior_lr: float = 0.01,
        posterior_lr: float = 0.01,
        spread: float = 0.05,
        noise: float = 0.5,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(Spread(net), SGD(lr), steps, test_steps, noise, batch_norm)
        if min(samples, prior_lr, posterior_lr, spread) <= 0:
            raise InputError(f"{samples=}, {prior_lr=}, {posterior_lr=} and {spread=} must be positive")
        self.samples, self.prior_lr, self.posterior_lr = samples, prior_lr, posterior_lr
        count = len(self.adapted.names())
        self.log_prior = nn.Parameter(torch.full((count,), math.log(spread)))
        self.log_posterior = nn.Parameter(torch.full((count,), math.log(spread)))

    def latent(self, examples: Examples) -> Gaussian:
        """Return p(theta | examples), a Gaussian (P,) of all adapted numbers."""
        return self._around(examples, self.prior_lr, self.log_prior)

    def posterior(self, support: Examples, query: Examples) -> Gaussian:
        """Return q(theta | query), a Gaussian (P,)."""
        return self._around(query, self.posterior_lr, self.log_posterior)

    def given(self, support: Examples, z: Tensor) -> State:
        """Return the state of a support with starts z (L, P), adapted."""
        state, every = self._start(support, z), self.differentiation.checkpoint
        return self.finish(unroll(self.step, state, support, steps=self.inner_steps, module=self, every=every), support)

    def start(self, support: Examples, key: Tensor | None = None) -> InnerState:
        """Draw starts from p(theta | support)."""
        if key is None:
            raise InputError("starts are drawn through a key: adapt(support, quickstudy.functional.random.key(0))")
        prior = self.latent(support)
        noise = random.normal(key, self.samples, len(prior.mean), dtype=prior.mean.dtype)
        return self._start(support, prior.mean + prior.std * noise)

    def _start(self, support: Examples, z: Tensor) -> InnerState:
        state, theta = super().start(support), {}
        parts = torch.split(z, [value.numel() for value in state.theta.values()], 1)
        for (name, value), part in zip(state.theta.items(), parts, strict=True):
            theta[name] = part.reshape(len(z), *value.shape)
        return state._replace(theta=theta, initial=theta, rule=self.rule.start(theta, self.inner_steps))

    def _around(self, examples: Examples, lr: float, log_std: Tensor) -> Gaussian:
        """Return N(mu - lr grad L(mu, examples), std^2)."""
        mu = self.adapted.initial(examples)

        def loss(theta: Theta, rows: Examples) -> Tensor:
            return self.inner_loss.value(self, {name: value.unsqueeze(0) for name, value in theta.items()}, rows)

        grads, _ = self.differentiation.gradient(loss, mu, examples)
        mean = torch.cat([(mu[name] - lr * grads[name]).flatten() for name in mu])
        stds = [log_std[i].exp().expand(value.numel()) for i, value in enumerate(mu.values())]
        return Gaussian(mean, torch.cat(stds))
