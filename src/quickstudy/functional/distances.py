"""Distances between rows, with derivatives of every order."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, N) squared distances between the rows of a (Q, D) and b (N, D)."""
    gaps = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.mT
    return gaps.clamp_min(0)


def cosine(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """Return (Q, N) cosine similarities between the rows of a (Q, D) and b (N, D)."""
    return F.normalize(a, dim=-1, eps=eps) @ F.normalize(b, dim=-1, eps=eps).mT
