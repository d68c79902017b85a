"""Gradient descent whose rate at each step is learned."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register
from quickstudy.rules.base import Rule, Theta


@register("rule")
class StepRates(Rule):
    """Gradient descent with a learned positive rate for each step, theta <- theta - exp(rho_t) g.

    Args:
        steps: number of rates; later steps take the last one.
        lr: initial value of all rates.
    """

    symmetric: ClassVar[bool] = True

    def __init__(self, steps: int, lr: float) -> None:
        super().__init__()
        if steps < 1 or not lr > 0:
            raise InputError(f"steps must be at least 1 and lr positive, not {steps} and {lr}")
        self.log_rates = nn.Parameter(torch.full((steps,), math.log(lr)))

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> Tensor:
        """Return the number of the first step."""
        return torch.zeros((), dtype=torch.long, device=self.log_rates.device)

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return theta after a step at its rate."""
        # A vector of one index: a scalar would be read as a number, which a recorded step cannot do.
        rate = self.log_rates[state.clamp_max(len(self.log_rates) - 1).unsqueeze(0)].exp()
        return {name: theta[name] - rate * grads[name] for name in theta}, state + 1
