"""Covariance functions of Gaussian processes, of unit variance (Rasmussen & Williams 2006, chapter 4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.errors import unknown_name

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(distances, length scale) -> covariances; the two broadcast."""


def rbf(distance: Tensor, length_scale: Tensor) -> Tensor:
    """exp(-d^2 / 2 l^2), equation 4.9: smooth functions."""
    return torch.exp(-0.5 * (distance / length_scale).square())


def matern12(distance: Tensor, length_scale: Tensor) -> Tensor:
    """exp(-d / l), equation 4.18: continuous, nowhere differentiable."""
    return torch.exp(-distance / length_scale)


def matern32(distance: Tensor, length_scale: Tensor) -> Tensor:
    """(1 + a) exp(-a) with a = sqrt(3) d / l, equation 4.17: differentiable once."""
    a = math.sqrt(3) * distance / length_scale
    return (1 + a) * torch.exp(-a)


def matern52(distance: Tensor, length_scale: Tensor) -> Tensor:
    """(1 + a + a^2 / 3) exp(-a) with a = sqrt(5) d / l, equation 4.17: differentiable twice."""
    a = math.sqrt(5) * distance / length_scale
    return (1 + a + a.square() / 3) * torch.exp(-a)


def periodic(distance: Tensor, length_scale: Tensor) -> Tensor:
    """exp(-2 sin^2(pi d) / l^2), equation 4.31: functions of period 1."""
    return torch.exp(-2 * (torch.sin(math.pi * distance) / length_scale).square())


KERNELS: dict[str, Kernel] = {each.__name__: each for each in (rbf, matern12, matern32, matern52, periodic)}
"""Kernels by name."""


def kernel_of(name: str) -> Kernel:
    """Return the kernel of a name, or raise InputError with the nearest known one."""
    if name not in KERNELS:
        raise unknown_name("kernel", name, KERNELS)
    return KERNELS[name]
