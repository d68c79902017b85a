"""Ridge regression on raw inputs (Hoerl & Kennard 1970).

    w = (X^T X + penalty I)^-1 X^T y

The posterior mean of weights with the prior N(0, v I) under noise of variance s^2, for penalty = s^2 / v. Nothing is
learned across tasks. No intercept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.checks import flat_rows
from quickstudy.functional.narrow import single
from quickstudy.registry import register


class Weights(NamedTuple):
    """The state of one task."""

    w: Tensor
    """(D, outputs) weights of the regression."""


@register("learner", family="baseline", learns="nothing", paper="Hoerl & Kennard 1970", tasks="regression")
class Ridge(Learner):
    """Linear regression with a penalty on the squared weights.

    Args:
        penalty: of the squared weights.

    Raises:
        InputError: a penalty that is not positive.
    """

    def __init__(self, penalty: float = 1.0) -> None:
        super().__init__()
        if not penalty > 0:
            raise InputError(f"penalty must be positive, not {penalty}")
        self.penalty = penalty

    def adapt(self, support: Examples) -> Weights:
        """Solve for the weights."""
        if support.ways is not None:
            raise InputError("Ridge is for regression: the support needs floating targets, not labels")
        x, y = single(flat_rows(support.inputs)), single(support.labels.reshape(len(support.labels), -1))
        if support.mask is not None:
            rows = support.mask.unsqueeze(1)
            x, y = torch.where(rows, x, torch.zeros_like(x)), torch.where(rows, y, torch.zeros_like(y))
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return Weights(torch.linalg.solve(x.mT @ x + self.penalty * eye, x.mT @ y))

    def predict(self, state: Weights, inputs: Any) -> Tensor:
        """Return (Q, outputs)."""
        outputs: Tensor = single(flat_rows(inputs)) @ state.w
        return outputs
