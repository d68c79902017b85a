"""Adversarial examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad


def fgsm(loss: Callable[[Tensor], Tensor], inputs: Tensor, epsilon: float) -> Tensor:
    """Return inputs moved by the fast gradient sign method, x + epsilon sign(dL/dx), as constants.

    Goodfellow et al., "Explaining and Harnessing Adversarial Examples" (2015), section 4.
    """
    with torch.no_grad():
        moved: Tensor = inputs + epsilon * grad(loss)(inputs).sign()
        return moved


def pgd(
    loss: Callable[[list[Tensor]], Tensor],
    inputs: list[Tensor],
    epsilon: float,
    steps: int,
    size: float | None = None,
    start: list[Tensor] | None = None,
    mask: Tensor | None = None,
    limits: tuple[float, float] | None = None,
) -> list[Tensor]:
    """Return inputs moved by projected gradient ascent in the ball |x' - x|_inf <= epsilon, as constants.

        x' <- P(x' + size sign(dL/dx'))

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), section 2.1. One step of a
    size of epsilon or more, from the inputs themselves, is the fast gradient sign method.

    Args:
        loss: scalar function of the inputs.
        inputs: floating tensors (S, ...).
        epsilon: radius of the ball.
        steps: number of steps of ascent.
        size: size of a step; None is 2.5 epsilon / steps, which reaches the edge from anywhere in the ball.
        start: where to start, relative to the inputs; None is zero.
        mask: (S,) booleans; rows where it is False stay as they are.
        limits: lowest and highest value that moved inputs may take, such as (0, 1) for images.
    """
    size = 2.5 * epsilon / steps if size is None else size

    def moved(gaps: list[Tensor]) -> list[Tensor]:
        found = []
        for x, gap in zip(inputs, gaps, strict=True):
            y = x + gap.clamp(-epsilon, epsilon)
            y = y if limits is None else y.clamp(*limits)
            found.append(y if mask is None else torch.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), y, x))
        return found

    with torch.no_grad():
        points = moved([torch.zeros_like(x) for x in inputs] if start is None else start)
        for _ in range(steps):
            slopes = grad(loss)(points)
            points = moved([y + size * g.sign() - x for x, y, g in zip(inputs, points, slopes, strict=True)])
    return points
