"""Attention written out: right under vmap and for derivatives of every order, where fused kernels are not.

Vaswani et al. 2017, "Attention Is All You Need", equation 1: softmax(q k^T / sqrt(D)) v.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quickstudy.functional.classes import hidden


def weights(queries: Tensor, keys: Tensor, visible: Tensor | None = None) -> Tensor:
    """Return (..., Q, S) attention weights of queries (..., Q, D) over keys (..., S, D).

    Args:
        queries: (..., Q, D) rows that attend.
        keys: (..., S, D) rows that are attended to.
        visible: (..., Q, S) or (S,) booleans, False where a query may not look; None shows everything.
    """
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    if visible is None:
        return torch.softmax(scores, -1)
    found = torch.softmax(hidden(scores, visible), -1)
    # Who may see nothing gets zeros, not the mean of what is hidden.
    return torch.where(visible, found, torch.zeros_like(found))


def attend(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
    """Return (..., Q, V), the values (..., S, V) averaged by the attention `weights` of each query."""
    return weights(queries, keys, visible) @ values


def split_heads(rows: Tensor, heads: int) -> Tensor:
    """Return rows (S, D) as (heads, S, D / heads)."""
    return rows.reshape(*rows.shape[:-1], heads, rows.shape[-1] // heads).transpose(-3, -2)


def join_heads(rows: Tensor) -> Tensor:
    """Return rows (heads, S, D) side by side, as (S, heads D)."""
    return rows.transpose(-3, -2).flatten(-2)
