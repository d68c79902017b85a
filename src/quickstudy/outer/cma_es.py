"""Covariance matrix adaptation: a normal distribution of parameters that learns scale and shape from ranks alone.

Hansen & Ostermeier 2001, "Completely Derandomized Self-Adaptation in Evolution Strategies"; Ros & Hansen 2008, "A
Simple Modification in CMA-ES Achieving Linear Time and Space Complexity" (separable: a diagonal covariance). Each step

    omega_i ~ N(m, s^2 C), i = 1..P;   m <- sum_i w_i omega_(i), best first;   s and C from the paths that m takes

by the library cmaes (Nomura & Shibata 2024). The trainer takes part as for Reptile: `.grad` is omega - m, and SGD with
rate 1 makes omega the new mean. Losses are of new tasks at every step, so they are noisy; only their order counts.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import CheckpointError, InputError
from quickstudy.outer.population import Population, add_gradient, combined, flat, typical
from quickstudy.registry import register

MOST_FULL = 200
"""Parameters up to which all covariances are learned unasked: they are D^2 numbers, an eigendecomposition D^3."""
LACKING = "CMA-ES needs the extra 'evolution': pip install 'quickstudy[evolution]'; or use outer.EvolutionStrategies"


@register("outer", how="covariance matrix adaptation: ranks of losses of sampled parameters")
class CMAES(Population):
    """Samples parameters from a normal distribution whose mean, scale and covariance adapt.

    No learning rate, schedule or optimiser: the step size adapts too. What lasts is the seed and every loss that was
    told; a resumed run repeats the library's own arithmetic on them, which takes no evaluation, so that it goes on bit
    for bit. That is P numbers a step in a checkpoint, and to repeat G steps takes about G P D operations.

    Args:
        sigma: standard deviation to begin with: a third of how far away one expects the best parameters.
        population: candidates P of an outer step; None takes 4 + 3 ln D.
        covariance: 'full', 'diagonal' (separable), or None: full up to 200 parameters, diagonal beyond.

    Raises:
        InputError: an argument is out of range. When used: the library is not installed.
    """

    def __init__(
        self,
        sigma: float = 0.1,
        population: int | None = None,
        covariance: Literal["full", "diagonal"] | None = None,
    ) -> None:
        super().__init__(lr=1.0, optimizer="sgd")
        if not sigma > 0:
            raise InputError(f"sigma must be positive, not {sigma}")
        if population is not None and population < 3:
            raise InputError(f"population must be 3 or more, or None, not {population}")
        if covariance not in ("full", "diagonal", None):
            raise InputError(f"covariance must be 'full', 'diagonal' or None, not {covariance!r}")
        self.sigma, self.population, self.covariance = sigma, population, covariance

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need the library."""
        try:
            _library()
        except InputError as error:
            return str(error)
        return super().refuses(learner, objective)

    def prepare(self, learner: Learner) -> None:
        """Begin anew from the learner's parameters."""
        super().prepare(learner)
        self._size = len(flat(learner))
        self.candidates = self.population or 4 + int(3 * np.log(self._size))
        self.full = self.covariance == "full" or (self.covariance is None and self._size <= MOST_FULL)
        self._search: Any = None
        self._told: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """Return where the search began, its seed, and the losses that it was told (G, P)."""
        if self._search is None:
            return {}
        return {"start": self._start, "seed": self._seed, "told": torch.stack(self._told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Ask and tell again all that was asked and told."""
        if not {"start", "seed", "told"} <= set(state):
            raise CheckpointError(
                "the checkpoint lacks what CMA-ES was told, so it is of another outer optimiser; pass resume=False to "
                "start anew"
            )
        start, told = state["start"], state["told"]
        if len(start) != self._size or told.shape[1:] != (self.candidates,):
            raise CheckpointError("the checkpoint's CMA-ES is of another learner or population")
        self._begin(start, int(state["seed"]))
        for fitness in told:
            self._tell(self._ask(), fitness)

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Set the gradient to the way from the new mean; return the losses (T,) of the candidate in the middle."""
        omega, keys_of_all = flat(meta_loss.learner), meta_loss.ranks.gather(keys)
        if self._search is None:
            self._begin(omega.double().cpu(), int(keys_of_all[0]) % 2**32)
        asked = self._ask()
        rows = torch.from_numpy(np.stack(asked)).to(omega.device)
        found = self.judge(meta_loss, rows, tasks, keys)
        self._tell(asked, combined(meta_loss, found).double().cpu())
        add_gradient(meta_loss.learner, omega.double() - torch.from_numpy(self._search.mean).to(omega.device))
        return typical(found)

    def _begin(self, start: Tensor, seed: int) -> None:
        library = _library()
        self._start, self._seed, self._told = start, seed, []
        kind = library.CMA if self.full else library.SepCMA
        # A copy: the library moves the mean in place.
        self._search = kind(mean=start.numpy().copy(), sigma=self.sigma, seed=seed, population_size=self.candidates)

    def _ask(self) -> list[Any]:
        return [self._search.ask() for _ in range(self.candidates)]

    def _tell(self, asked: list[Any], fitness: Tensor) -> None:
        self._told.append(fitness)
        self._search.tell(list(zip(asked, fitness.tolist(), strict=True)))


def _library() -> Any:
    try:
        return importlib.import_module("cmaes")
    except ImportError as error:
        raise InputError(LACKING) from error
