"""Distances between rows, with derivatives of every order, at coinciding and at zero rows too."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.functional.narrow import widened


def squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, N) squared distances between the rows of a (Q, D) and b (N, D)."""
    # Distances do not depend on the origin: one amid the rows keeps the sums small, and with them their rounding.
    a, b = widened(a), widened(b)
    centre = b.detach().mean(0)
    a, b = a - centre, b - centre
    gaps = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.mT
    return gaps.clamp_min(0)


def unit(rows: Tensor, eps: float = 1e-12) -> Tensor:
    """Return rows (..., D) scaled to length 1; a zero row stays zero, with finite derivatives."""
    wide = widened(rows)
    return (wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + eps)).to(rows.dtype)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, N) cosine similarities between the rows of a (Q, D) and b (N, D)."""
    return unit(a) @ unit(b).mT


def distorted(a: Tensor, b: Tensor, reach: float, cost: Tensor | float) -> Tensor:
    """Return (Q, N) squared distances of maps a (Q, C, H, W) from maps b (N, C, H, W) that may be bent to look like a.

    The image distortion model of Keysers et al. 2000, "Experiments with an Extended Tangent Distance", section 4: each
    place p of a is compared with the most similar place of b around p,

        d(a, b) = sum over p of min over u of |a(p) - b(p + u)|^2 + cost |u|^2,  |u| <= reach

    Departure: the region is a disc, not a square, which has more places at the same distance.

    Args:
        a: maps that stay as they are.
        b: maps that are bent. Bending b to a is not bending a to b, so d is not symmetric.
        reach: number of places by which b may be shifted; 0 gives squared Euclidean distances.
        cost: cost of a shift by one place.
    """
    height, width = a.shape[2:]
    centre = b.detach().mean((0, 2, 3)).reshape(-1, 1, 1)  # as above
    own = (a - centre).flatten(2).permute(2, 0, 1)  # (H W, Q, C)
    margin = int(reach)
    moves = [(i, j) for i, j in product(range(-margin, margin + 1), repeat=2) if i * i + j * j <= reach * reach]
    framed = F.pad(b - centre, (margin,) * 4).permute(2, 3, 0, 1)
    inside = F.pad(a.new_ones(height, width), (margin,) * 4)

    def moved(x: Tensor) -> Tensor:
        windows = (x[margin + i :, margin + j :][:height, :width] for i, j in moves)
        return torch.stack([window.flatten(0, 1) for window in windows], 1)

    around = moved(framed)  # (H W, M, N, C), of M moves
    extra = cost * torch.tensor([float(i * i + j * j) for i, j in moves], dtype=a.dtype, device=a.device)
    squares = around.square().sum(-1) + torch.where(moved(inside) > 0, extra, torch.inf).unsqueeze(-1)
    # One product of matrices for each place: all of a by everything around the place in all of b.
    gaps = torch.baddbmm(squares.flatten(1).unsqueeze(1), own, around.flatten(1, 2).mT, alpha=-2)
    least: Tensor = gaps.reshape(*gaps.shape[:2], *squares.shape[1:]).min(2).values  # (H W, Q, N)
    return (least + own.square().sum(-1, keepdim=True)).clamp_min(0).sum(0)
