"""Distances between rows, with derivatives of every order, at coinciding and at zero rows too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


def distorted(a: Tensor, b: Tensor, reach: int, cost: Tensor | float) -> Tensor:
    """Return (Q, N) squared distances of maps a (Q, C, H, W) from maps b (N, C, H, W) that may be bent to look like a.

    The image distortion model of Keysers et al. 2000, "Experiments with an Extended Tangent Distance", section 4: each
    place p of a is compared with whichever place of b around p looks most like it,

        d(a, b) = sum over p of min over u of |a(p) - b(p + u)|^2 + cost |u|^2,  u from -reach to reach each way

    Args:
        a: maps that are asked for.
        b: maps that are bent; those bent to a are not a bent to them, so d is not symmetric.
        reach: places that b may be off, each way; 0 gives squared Euclidean distances.
        cost: of being off by one place.
    """
    count, channels, height, width = a.shape
    side = 2 * reach + 1
    centre = b.detach().mean((0, 2, 3)).reshape(-1, 1, 1)  # as above
    a, b = a - centre, b - centre
    own = a.flatten(2).permute(2, 0, 1)  # (H W, Q, C)
    around = F.unfold(b, side, padding=reach).reshape(len(b), channels, side * side, height * width)
    around = around.permute(3, 0, 2, 1)  # (H W, N, side side, C)
    off = torch.arange(-reach, reach + 1, device=a.device, dtype=a.dtype).square()
    inside = F.unfold(a.new_ones(1, 1, height, width), side, padding=reach)[0].mT
    extra = torch.where(inside > 0, cost * (off.unsqueeze(1) + off).flatten(), torch.inf)  # (H W, side side)
    squares = around.square().sum(-1) + extra.unsqueeze(1)
    # Of each place one product of matrices, of all of a by all that is around it in all of b.
    gaps = torch.baddbmm(
        squares.reshape(height * width, 1, -1), own, around.reshape(height * width, -1, channels).mT, alpha=-2
    )
    least = gaps.reshape(height * width, count, len(b), side * side).min(-1).values
    return (least + own.square().sum(-1, keepdim=True)).clamp_min(0).sum(0)
