"""Evolution strategies: a gradient estimated from the losses of perturbed parameters.

Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", algorithm 1 with
antithetic pairs and centred ranks (section 2.1); for MAML's initialisation Song et al. 2020, "ES-MAML: Simple
Hessian-Free Meta Learning". With eps_i ~ N(0, I) and P = 2n candidates omega + sigma eps_i, omega - sigma eps_i:

    gradient = 1 / (2 n sigma) sum_{i=1..n} (u(L_i+) - u(L_i-)) eps_i

With u the identity this is an unbiased estimate of the gradient of E L(omega + sigma eps), the objective smoothed. Its
variance grows with the number of parameters D over n, so it needs some D times as many evaluations as a gradient, but
no derivative: objectives may jump, inner loops be long or chaotic, and memory is that of adapting alone.
Departures: what adapts is given, not perturbed (the paper's zero-order inner loop is not used); all candidates see the
same tasks; processes share tasks, not perturbations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Unpack

import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional import random
from quickstudy.outer.base import Following
from quickstudy.outer.population import Population, add_gradient, combined, flat, typical
from quickstudy.registry import register

Shaping = Literal["ranks", "standardised", "none"]
_NOISE = 0x4E53
"""Folded into the first task's key: learners fold in small numbers."""


def centred_ranks(losses: Tensor) -> Tensor:
    """Return the ranks of losses (P,), from -1/2 for the least to 1/2 for the greatest; equals share their mean."""
    less = losses.unsqueeze(0) < losses.unsqueeze(1)
    equal = losses.unsqueeze(0) == losses.unsqueeze(1)
    rank = less.sum(1) + (equal.sum(1) - 1) / 2
    return (rank / (len(losses) - 1) - 0.5).to(losses.dtype)


def standardised(losses: Tensor) -> Tensor:
    """Return losses (P,) with mean 0 and standard deviation 1; zeros where all are equal."""
    centred = losses - losses.mean()
    std = centred.square().mean().sqrt()
    return centred / torch.where(std > 0, std, 1)


SHAPINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "ranks": centred_ranks,
    "standardised": standardised,
    "none": lambda losses: losses,
}


@register("outer", how="evolution strategies: losses of perturbed parameters")
class EvolutionStrategies(Population):
    """Estimates the gradient from antithetic pairs of perturbed parameters, and follows it as any other.

    Args:
        population: candidates P of an outer step, an even number; each is judged on all tasks of the meta-batch. The
            noise of the estimate falls with P over the number of parameters.
        sigma: standard deviation of the perturbations.
        shaping: what losses become before they weigh perturbations: 'ranks' (of no concern how far apart, candidates
            that diverge are just the last), 'standardised', or 'none' (the plain estimate).
        lr: outer learning rate.
        following: keywords of `outer.Outer`.

    Raises:
        InputError: the population is odd or below 2, sigma is not positive, or an unknown name.
    """

    def __init__(
        self,
        population: int = 100,
        sigma: float = 0.02,
        shaping: Shaping = "ranks",
        lr: float = 1e-2,
        **following: Unpack[Following],
    ) -> None:
        super().__init__(lr, **following)
        if population < 2 or population % 2:
            raise InputError(f"population must be an even number, 2 or more, as it is made of pairs; not {population}")
        if not sigma > 0:
            raise InputError(f"sigma must be positive, not {sigma}")
        if shaping not in SHAPINGS:
            raise unknown_name("shaping", shaping, SHAPINGS)
        self.candidates, self.sigma, self.shaping = population, sigma, shaping

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Set the gradient to the estimate; return the losses (T,) of the candidate in the middle."""
        omega, pairs = flat(meta_loss.learner), self.candidates // 2
        key = random.fold_in(meta_loss.ranks.gather(keys)[0], _NOISE)
        eps = random.normal(key, pairs, len(omega), dtype=omega.dtype)
        rows = omega + self.sigma * torch.cat([eps, -eps])
        found = self.judge(meta_loss, rows, tasks, keys)
        shaped = SHAPINGS[self.shaping](combined(meta_loss, found)).to(eps.dtype)
        add_gradient(meta_loss.learner, (shaped[:pairs] - shaped[pairs:]) @ eps / (2 * pairs * self.sigma))
        return typical(found)
