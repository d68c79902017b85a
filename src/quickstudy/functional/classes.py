"""Sums over the classes of a task, with padding rows and absent classes handled once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import InputError

ABSENT = -1e9
"""Logit of a class that has no support row: its probability is zero, its gradient finite."""


def ways_of(support: Any) -> int:
    """Return the static number of ways of a support, or raise InputError for regression."""
    if support.ways is None:
        raise InputError("this learner classifies: the support needs integer labels 0..N-1, not floating targets")
    return int(support.ways)


def one_hot(support: Any, dtype: torch.dtype) -> Tensor:
    """Return (S, ..., N) indicators of the classes, all zero in padding rows. Labels are (S,), or (S, ...) if dense."""
    # Not torch's one_hot, which looks at values and so cannot be mapped over tasks.
    classes = torch.arange(ways_of(support), device=support.labels.device)
    indicators: Tensor = (support.labels.unsqueeze(-1) == classes).to(dtype)
    if support.mask is None:
        return indicators
    valid: Tensor = support.mask.to(dtype)
    return indicators * valid.reshape(-1, *(1,) * (indicators.ndim - 1))


def present(support: Any) -> Tensor:
    """Return (N,) whether each class has a support row."""
    return one_hot(support, torch.float32).flatten(0, -2).sum(0) > 0


def class_means(features: Tensor, support: Any) -> Tensor:
    """Return (N, ...) mean features of each class; zero where it has no row. Features are (S, ...)."""
    weights = one_hot(support, features.dtype)
    weights = weights / weights.sum(0).clamp_min(1)
    return torch.einsum("sn,s...->n...", weights, features)


def mask_absent(logits: Tensor, is_present: Tensor) -> Tensor:
    """Return logits (Q, N, ...) with absent classes (N,) at ABSENT."""
    shape = (1, -1) + (1,) * (logits.ndim - 2)
    return torch.where(is_present.reshape(shape), logits, torch.full_like(logits, ABSENT))
