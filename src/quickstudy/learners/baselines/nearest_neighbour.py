"""Nearest neighbour on raw inputs: no learning across tasks at all (Cover & Hart 1967)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.checks import flat_rows
from quickstudy.functional.classes import mask_absent, one_hot, outside, present
from quickstudy.functional.distances import squared_euclidean
from quickstudy.registry import register


class Rows(NamedTuple):
    """The support, kept."""

    inputs: Tensor
    """(S, D) inputs of the support."""
    indicators: Tensor
    """(S, N) one-hot classes, zero in padding rows."""
    present: Tensor
    """(N,) classes that have a support row; in regression (outputs,), all True."""


@register("learner", family="baseline", learns="nothing", paper="Cover & Hart 1967", tasks="classification")
class NearestNeighbour(Learner):
    """The class of the nearest support row, by Euclidean distance between raw inputs.

    Args:
        temperature: divides squared distances before the softmax that gives probabilities; ranks do not depend on it.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f"temperature must be positive, not {temperature}")
        self.temperature = temperature

    def adapt(self, support: Examples) -> Rows:
        """Keep the support."""
        if not isinstance(support.inputs, Tensor):
            raise InputError("NearestNeighbour compares one tensor of inputs; this task's inputs are a pytree")
        flat = _flat(support.inputs)
        return Rows(flat, one_hot(support, flat.dtype), present(support))

    def predict(self, state: Rows, inputs: Any) -> Tensor:
        """Return (Q, N) logits, minus the squared distance to the nearest row of each class."""
        squared = squared_euclidean(_flat(inputs), state.inputs) / self.temperature
        nearest = (outside(state.indicators) - squared.unsqueeze(-1)).amax(1)
        return mask_absent(nearest, state.present)


def _flat(inputs: Tensor) -> Tensor:
    # Squares of 8-bit integers would overflow.
    rows = flat_rows(inputs)
    return rows if rows.dtype.is_floating_point else rows.to(torch.get_default_dtype())
