"""Stein variational gradient descent.

Liu & Wang 2016, "Stein Variational Gradient Descent", algorithm 1, for M particles x_i:

    x_i <- x_i + lr / M sum_j [k(x_j, x_i) grad log p(x_j) + grad_{x_j} k(x_j, x_i)]
    k(x, x') = exp(-|x - x'|^2 / h),   h = median of |x_j - x_i|^2 / log M

The first term pulls all particles to where p is large, and the second pushes them apart. Together they end up
distributed like draws from p. Departure: the median is over pairs of different particles.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.registry import register
from quickstudy.rules.base import Rule, Theta


@register("rule")
class SVGD(Rule):
    """Moves particles, the first dimension of every tensor of theta, towards draws of p = exp(-loss).

    Args:
        lr: step size.

    Raises:
        InputError: the step size is not positive, or there are fewer than two particles.
    """

    def __init__(self, lr: float) -> None:
        super().__init__()
        if not lr > 0:
            raise InputError(f"lr must be positive, not {lr}")
        self.lr = float(lr)

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return the moved particles; `grads` are the gradients of each particle's own loss."""
        x = torch.cat([value.flatten(1) if value.ndim > 1 else value.unsqueeze(1) for value in theta.values()], 1)
        g = torch.cat([grads[n].flatten(1) if v.ndim > 1 else grads[n].unsqueeze(1) for n, v in theta.items()], 1)
        moved = torch.split(x + self.lr * direction(x, -g), [value[0].numel() for value in theta.values()], 1)
        return {
            name: part.reshape(value.shape) for (name, value), part in zip(theta.items(), moved, strict=True)
        }, state


def direction(x: Tensor, scores: Tensor) -> Tensor:
    """Return where particles x (M, P) go (M, P), given the gradients (M, P) of log p at each."""
    count = len(x)
    if count < 2:
        raise InputError(f"SVGD needs at least 2 particles, not {count}")
    squared = (x.unsqueeze(1) - x).square().sum(-1)
    rows, columns = torch.triu_indices(count, count, 1, device=x.device)
    # Particles that are all the same have no width; they stay together.
    width = squared[rows, columns].median().clamp_min(1e-12) / math.log(count)
    kernel = torch.exp(-squared / width)
    apart = (2 / width) * (kernel.sum(1, keepdim=True) * x - kernel @ x)
    return (kernel @ scores + apart) / count
