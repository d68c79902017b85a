"""Bayesian MAML: a belief made of particles, and its baseline, an ensemble.

Yoon et al. 2018, "Bayesian Model-Agnostic Meta-Learning", algorithm 2 (BFA):

    theta^m <- theta^m + lr / M sum_j [k(theta^j, theta^m) grad log p(theta^j) + grad_{theta^j} k(theta^j, theta^m)]
    p(y | x) = 1/M sum_m p(y | x, theta^m)

(Stein variational gradient descent, `rules.SVGD`, on the support.) Learned across tasks: where each particle starts,
and the noise. Departures: meta-trained for the likelihood of the query under the mixture (the paper's 'Bayesian fast
adaptation'), not by the chaser loss; log p is minus the mean loss of the support rows.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from quickstudy.learners.bases.particles import ParticleLearner, Particles
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD
from quickstudy.rules.svgd import SVGD


@register("learner", family="baseline", learns="starts of several models", paper="Yoon et al. 2018", tasks="both")
class EnsembleMAML(ParticleLearner):
    """Ensemble of MAMLs, adapted each by itself (EMAML in the paper).

    Args:
        net: any module; for classification it has `outputs` N.
        particles: M, for `BMAML` at least 2.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        batch_norm: 'support' or 'transductive'.
    """

    moved_by: ClassVar[type[SGD | SVGD]] = SGD

    def __init__(
        self,
        net: nn.Module,
        particles: int = 5,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        noise: float = 0.5,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(Particles(net, particles), self.moved_by(lr), steps, test_steps, noise, batch_norm)


@register("learner", family="optimisation", learns="starts of particles", paper="Yoon et al. 2018", tasks="both")
class BMAML(EnsembleMAML):
    """Bayesian MAML: particles that descend the loss and keep apart, as draws of a posterior.

    Arguments as for `EnsembleMAML`.
    """

    moved_by = SVGD
