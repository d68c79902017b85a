"""Persistent evolution strategies: the gradient of whole inner loops, without bias, from segments of them.

Vicol, Metz & Sohl-Dickstein 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent
Evolution Strategies", algorithm 2 with antithetic pairs. Slot i takes two loops further, with parameters perturbed by
a fresh eps for each segment, and sums up the perturbations that its loops have met:

    xi_i  <- xi_i + eps_i                                      (xi_i = 0 at the beginning of a loop)
    gradient = mean_i xi_i (L(omega + eps_i) - L(omega - eps_i)) / (2 sigma^2)

Unlike the gradient of a segment it counts what an early change of omega does to late losses; unlike back-propagation it
smooths the objective over N(omega, sigma^2), which for long loops is often chaotic. Its variance grows with the number
of parameters and of segments. Departure: averaged over the slots' tasks, each with one pair of perturbations.
"""

from __future__ import annotations

import logging
from typing import Any, Unpack

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, State, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.operators import trees
from quickstudy.operators.substitution import with_parameters
from quickstudy.outer.base import Details, Schedule, first_order, trainable
from quickstudy.outer.persistent import Persistent, joined
from quickstudy.registry import register

log = logging.getLogger(__name__)


@register("outer", how="evolution strategies with a persistent inner loop, unbiased")
class PES(Persistent):
    """Perturbs the parameters of pairs of persistent inner loops, a segment at a time.

    Args:
        length: inner steps of a segment (K).
        sigma: standard deviation of the perturbations.
        lr: outer learning rate.
        optimizer: 'adam', 'adamw', 'sgd' or 'muon'.
        clip: largest norm of the estimate; None leaves it.
        schedule: of the rate.
        details: other keywords of `outer.Outer`.
    """

    def __init__(
        self,
        length: int = 20,
        sigma: float = 0.01,
        lr: float = 1e-3,
        optimizer: str = "adam",
        clip: float | None = 1.0,
        schedule: Schedule = "constant",
        **details: Unpack[Details],
    ) -> None:
        super().__init__(length, lr, optimizer=optimizer, clip=clip, schedule=schedule, **details)
        if not sigma > 0:
            raise InputError(f"sigma must be positive, not {sigma}")
        self.sigma = sigma

    def as_trained(self, learner: Learner) -> Learner:
        """Return the learner with no gradient passing through its steps: none is needed."""
        return first_order(learner)

    def evaluations(self, tasks: int) -> int:
        """Return the segments that an outer step takes: those of pairs."""
        return 2 * tasks

    def first(self, learner: Learner, state: State) -> Any:
        """Return the states of both loops, which are the same, and the sum of perturbations, which is zero."""
        return state, state, {name: torch.zeros_like(value) for name, value in trainable(learner).items()}

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Take all pairs of loops a segment further; set the gradient to PES's estimate."""
        slots = self.slots(meta_loss.learner, tasks, keys)
        # The keys of this outer step's tasks, whether they are needed as tasks or not, are new at every step.
        weights = torch.full((len(keys),), 1 / len(keys), device=keys.device)
        loops = (slots.states, slots.tasks, slots.keys, slots.done, random.fold_in(keys, 1), weights)
        parts = [meta_loss.recorded(self._estimate, part) for part in batching.chunks(loops, meta_loss.chunk_size)]
        shown, slots.states, fine = joined(parts)
        slots.done = torch.where(fine, slots.done + self.length, slots.end)
        if not bool(fine.all()):
            log.info("%d of %d pairs of inner loops diverged and begin anew", int((~fine).sum()), len(fine))
            # Shown as the worst of the others; if there are none, training stops.
            shown = torch.where(fine, shown, shown[fine].max() if bool(fine.any()) else torch.nan)
        return meta_loss.share(shown)

    def _estimate(self, meta_loss: MetaLoss, loops: tuple[Any, ...]) -> tuple[Tensor, Any, Tensor]:
        learner = meta_loss.learner
        omega, (*loops, weights) = trainable(learner), loops  # type: ignore[assignment]

        def pair(states: Any, task: Task, key: Tensor, done: Tensor, noise: Tensor) -> Any:
            plus, minus, met = states
            eps = {
                name: self.sigma * random.normal(random.fold_in(noise, i), *value.shape, dtype=value.dtype)
                for i, (name, value) in enumerate(omega.items())
            }
            met = {name: torch.where(done == 0, 0.0, met[name]) + eps[name] for name in met}
            ends, shares, shown = [], [], []
            for state, sign in ((plus, 1), (minus, -1)):
                moved = {name: omega[name] + sign * eps[name] for name in omega}
                loop = (state, task, key, done)
                end, share, loss = with_parameters(learner, moved, self.segment, meta_loss, loop)
                ends.append(end)
                shares.append(share)
                shown.append(loss)
            slope = (shares[0] - shares[1]) / (2 * self.sigma**2)
            # A pair that diverges says nothing, and must not spoil what the others say.
            fine = torch.isfinite(slope)
            estimate = {name: torch.where(fine, slope, 0) * met[name] for name in met}
            return torch.stack(shown).mean(), estimate, (*ends, met), fine

        with torch.no_grad():
            shown, estimates, states, fine = batching.map_tasks(pair, *loops)
        for name, parameter in trainable(learner).items():
            estimate = torch.tensordot(weights.to(parameter.dtype), estimates[name], 1)
            parameter.grad = estimate if parameter.grad is None else parameter.grad + estimate
        return shown, trees.map_leaves(Tensor.detach, states), fine
