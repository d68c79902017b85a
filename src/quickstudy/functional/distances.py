"""Distances between rows, with derivatives of every order, at coinciding and at zero rows too."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, N) squared distances between the rows of a (Q, D) and b (N, D)."""
    # Distances do not depend on the origin: one amid the rows keeps the sums small, and with them their rounding.
    centre = b.detach().mean(0)
    a, b = a - centre, b - centre
    gaps = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.mT
    return gaps.clamp_min(0)


def unit(rows: Tensor, eps: float = 1e-12) -> Tensor:
    """Return rows (..., D) scaled to length 1; a zero row stays zero, with finite derivatives."""
    return rows * torch.rsqrt(rows.square().sum(-1, keepdim=True) + eps)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, N) cosine similarities between the rows of a (Q, D) and b (N, D)."""
    return unit(a) @ unit(b).mT
