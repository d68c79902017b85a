"""Addressing of memories: the equations of the Neural Turing machine, the MANN and the DNC, as pure functions.

There are B rows, H heads, and M memory slots of W numbers each. Weights (B, H, M) say how much each head attends to
each slot. They are never negative and sum to at most one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.functional.distances import unit

NEARLY_ZERO = 1e-6
"""Added to squared lengths and to usages, where a derivative would else be infinite."""


def content_weights(memory: Tensor, keys: Tensor, strengths: Tensor) -> Tensor:
    """Return (B, H, M) the softmax over slots of strength times cosine (Graves et al. 2014, equations 5 and 6).

    Args:
        memory: (B, M, W).
        keys: (B, H, W).
        strengths: (B, H), positive.
    """
    # An empty slot has length zero: a generous epsilon bounds the derivative of its direction.
    similarity = unit(keys, NEARLY_ZERO) @ unit(memory, NEARLY_ZERO).mT
    return torch.softmax(strengths.unsqueeze(-1) * similarity, -1)


def interpolated(content: Tensor, previous: Tensor, gates: Tensor) -> Tensor:
    """Return the mixture of content weights and the previous weights, by gates (B, H) (Graves et al. 2014, eq. 7)."""
    gates = gates.unsqueeze(-1)
    return gates * content + (1 - gates) * previous


def shifted(weights: Tensor, shifts: Tensor) -> Tensor:
    """Return weights moved around the circle of slots: w'(i) = sum_j w(i - j) s(j) (Graves et al. 2014, equation 8).

    Args:
        weights: (B, H, M).
        shifts: (B, H, 2r + 1), the weights of the moves -r, ..., r, which sum to one.
    """
    reach = shifts.shape[-1] // 2
    moved = [weights.roll(j, -1) * shifts[..., j + reach].unsqueeze(-1) for j in range(-reach, reach + 1)]
    return torch.stack(moved).sum(0)


def sharpened(weights: Tensor, gammas: Tensor) -> Tensor:
    """Return weights to the power gamma (B, H) >= 1, summing to one again (Graves et al. 2014, equation 9)."""
    # In the log domain, and away from 0, so that a power of a vanishing weight has a derivative.
    logs = (weights + NEARLY_ZERO**2).log()
    return torch.softmax(gammas.unsqueeze(-1) * logs, -1)


def _ascending(usage: Tensor) -> Tensor:
    """Return the order of slots by usage (B, M); of slots that rounding alone tells apart the first comes first."""
    slots = torch.arange(usage.shape[-1], dtype=usage.dtype, device=usage.device)
    return (usage.detach() + NEARLY_ZERO * slots).argsort(dim=-1, stable=True)


def least_used(usage: Tensor, count: int) -> Tensor:
    """Return (B, count, M) indicators of the `count` least used slots, the least first (Santoro et al. 2016, eq. 6).

    Args:
        usage: (B, M) usage of the slots. No gradient passes through it.
    """
    chosen = _ascending(usage)[..., :count]
    slots = torch.arange(usage.shape[-1], device=usage.device)
    return (chosen.unsqueeze(-1) == slots).to(usage.dtype)


def used(usage: Tensor, write: Tensor, read: Tensor, free: Tensor) -> Tensor:
    """Return the usage (B, M) after the last writes, and after freeing what was read (Graves et al. 2016, methods).

    psi = prod_i (1 - f_i w_i),   u' = (u + w - u w) psi

    Args:
        usage: (B, M) before.
        write: (B, M) the last write weights w.
        read: (B, H, M) the last read weights w_i.
        free: (B, H) the free gates f_i.
    """
    retained = (1 - free.unsqueeze(-1) * read).prod(-2)
    return (usage + write - usage * write) * retained


def allocation(usage: Tensor) -> Tensor:
    """Return (B, M) the weights of free slots: a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i] (Graves et al. 2016).

    phi orders the slots by usage (B, M), ascending. No gradient passes through the order.
    """
    order = _ascending(usage)
    ascending = NEARLY_ZERO + (1 - NEARLY_ZERO) * usage.gather(-1, order)
    # Sums of logarithms: the derivative of a cumulative product looks at values, which vmap forbids.
    before = torch.exp(ascending.log().cumsum(-1) - ascending.log())
    return ((1 - ascending) * before).gather(-1, order.argsort(-1))


def linked(links: Tensor, precedence: Tensor, write: Tensor) -> tuple[Tensor, Tensor]:
    """Return the temporal links and the precedence after a write (Graves et al. 2016).

    L'[i, j] = (1 - w[i] - w[j]) L[i, j] + w[i] p[j],   L'[i, i] = 0,   p' = (1 - sum_i w[i]) p + w

    Args:
        links: (B, M, M); L[i, j] is how much slot i was written right after slot j.
        precedence: (B, M) how much each slot was the last one written.
        write: (B, M).
    """
    row, column = write.unsqueeze(-1), write.unsqueeze(-2)
    links = (1 - row - column) * links + row * precedence.unsqueeze(-2)
    links = links * (1 - torch.eye(links.shape[-1], dtype=links.dtype, device=links.device))
    return links, (1 - write.sum(-1, keepdim=True)) * precedence + write
