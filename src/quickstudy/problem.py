"""Optimisation problems as tasks: rows, the net to be fitted to them, and its initial parameters.

A learner that is an optimiser (`learners.L2O`) has no net of its own; each problem brings one. The net is no tensor, so
it travels as structure: problems of one net are batched over, those of another net are another batch. Learners and
tasks share what is defined here, as they share `core`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quickstudy.core import Examples, register_pytree


@dataclass(frozen=True)
class Optimizee:
    """Inputs of a problem, with the net that reads them.

    Attributes:
        inputs: (S, ...) tensor, or a pytree of them.
        net: the net. Only its structure is used; its parameters are those of the problem.
    """

    inputs: Any
    net: nn.Module


@dataclass(frozen=True, init=False)
class Problem(Examples):
    """Rows whose inputs are an `Optimizee`, with the parameters at which optimisation starts.

    Args:
        inputs: an `Optimizee`.
        labels: (S,) integers 0..N-1, or targets (S, ...).
        start: initial parameters of the net, by name.
        mask: (S,) booleans, False for rows that are only padding; None means that all rows count.
        ways: number of classes N, or None for regression.
        steps: () integer, the number of steps for solving the problem; None leaves it to the learner.
    """

    start: dict[str, Tensor]
    steps: Tensor | None

    def __init__(
        self,
        inputs: Optimizee,
        labels: Tensor,
        start: dict[str, Tensor],
        mask: Tensor | None = None,
        ways: int | None = None,
        steps: Tensor | None = None,
    ) -> None:
        super().__init__(inputs, labels, mask, ways, check=False)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "steps", steps)


def budget(support: Examples) -> Tensor | None:
    """Return the number of steps () that a task gives a learner, or None if it gives none."""
    return support.steps if isinstance(support, Problem) else None


register_pytree(Optimizee, ("inputs",), ("net",))
register_pytree(Problem, ("inputs", "labels", "mask", "start", "steps"), ("ways",))
