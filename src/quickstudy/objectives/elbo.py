"""The evidence lower bound of learners with a latent variable for each task (Garnelo et al. 2018, equation 9).

    loss = -1/Q (E_{z ~ q(z | support and query)} [sum_i log p(y_i | x_i, z)] - KL(q(z | both) || q(z | support)))

over the Q query rows, with one draw of z (Kingma & Welling 2014: through a key, so that the gradient passes). What z is
given the query too is the teacher of what it is given the support. A learner that has `posterior(support, query)` says
itself what the teacher is (PLATIPUS).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from quickstudy.core import Examples, Learner, State, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian, kl_divergence
from quickstudy.objectives.base import joined, objective
from quickstudy.registry import register


@runtime_checkable
class Latent(Protocol):
    """A learner with a latent variable z for each task."""

    def latent(self, examples: Examples) -> Gaussian:
        """Return q(z | examples)."""
        ...

    def given(self, support: Examples, z: Tensor) -> State:
        """Return the state of a support with draws z (L, ...)."""
        ...

    def predict(self, state: State, inputs: Any) -> Any:
        """Predict."""
        ...


def refuses(learner: Learner) -> str | None:
    """Need a latent variable."""
    if isinstance(learner, Latent):
        return None
    return f"{type(learner).__name__} has no latent variable for the ELBO; use objective='query_loss'"


@register("objective", why="a bound of the likelihood of the query")
@objective(refuses=refuses)
def elbo(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return minus the evidence lower bound a query row.

    Raises:
        InputError: the learner has no latent variable.
    """
    if not isinstance(learner, Latent):
        raise InputError(refuses(learner))
    both = joined(task.support, task.query)
    prior = learner.latent(task.support)
    teacher = getattr(learner, "posterior", None)
    posterior = learner.latent(both) if teacher is None else teacher(task.support, task.query)
    noise = random.normal(key, 1, *posterior.mean.shape, dtype=posterior.mean.dtype)
    state = learner.given(task.support, posterior.mean + posterior.std * noise)
    rows = len(task.query.labels) if task.query.mask is None else task.query.mask.sum()
    # Of the query alone: attention could copy the support's targets, noise and all, and be sure of them.
    return learner.loss(state, task.query) + kl_divergence(posterior, prior) / rows
