"""Sums over the classes of a task, with padding rows and absent classes handled once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import InputError

ABSENT = -1e9
"""Logit of a class that has no support row: its probability is zero, its gradient finite."""


def absent(dtype: torch.dtype) -> float:
    """Return `ABSENT`, or in a dtype that cannot hold it half of the lowest number, so that differences stay finite."""
    lowest = torch.finfo(dtype).min
    return ABSENT if lowest < ABSENT else lowest / 2


def hidden(scores: Tensor, visible: Tensor) -> Tensor:
    """Return scores, at `absent` where they are not visible."""
    return torch.where(visible, scores, torch.full_like(scores, absent(scores.dtype)))


def outside(indicators: Tensor) -> Tensor:
    """Return zero where a row is of a class, and else `absent`, in the dtype of the indicators (S, N)."""
    return hidden(torch.zeros_like(indicators), indicators > 0)


def ways_of(support: Any) -> int:
    """Return the static number of ways of a support, or raise InputError for regression."""
    if support.ways is None:
        raise InputError("this learner classifies: the support needs integer labels 0..N-1, not floating targets")
    return int(support.ways)


def one_hot(support: Any, dtype: torch.dtype) -> Tensor:
    """Return (S, N) indicators of the classes of labels (S,), all zero in padding rows.

    Raises:
        InputError: the task is one of regression, or rows have several labels.
    """
    ways_of(support)
    if support.labels.ndim != 1:
        raise InputError(f"this learner needs one label per row, shape (S,), not {tuple(support.labels.shape)}")
    return _indicators(support, dtype)


def _indicators(support: Any, dtype: torch.dtype) -> Tensor:
    """Return (S, ..., N) indicators of the classes of labels (S, ...)."""
    # Not torch's one_hot, which looks at values and so cannot be mapped over tasks.
    classes = torch.arange(ways_of(support), device=support.labels.device)
    indicators: Tensor = (support.labels.unsqueeze(-1) == classes).to(dtype)
    if support.mask is None:
        return indicators
    valid: Tensor = support.mask.to(dtype)
    return indicators * valid.reshape(-1, *(1,) * (indicators.ndim - 1))


def presentation(rows: Any) -> Tensor:
    """Return (L,) the number of earlier rows of the same class in an ordered sequence: 0 at a first presentation."""
    indicators = one_hot(rows, torch.float32)
    before = indicators.cumsum(0) - indicators
    return before.gather(1, rows.labels.unsqueeze(1)).squeeze(1).long()


def answerable(rows: Any) -> Any:
    """Return a sequence in which a row counts only if an earlier row showed its class; in regression all rows count."""
    if rows.ways is None:
        return rows
    known = presentation(rows) > 0
    mask = known if rows.mask is None else known & rows.mask
    return type(rows)(rows.inputs, rows.labels, mask, rows.ways, check=False)


def present(support: Any) -> Tensor:
    """Return (N,) whether each class has a support row."""
    return _indicators(support, torch.float32).flatten(0, -2).sum(0) > 0


def class_means(features: Tensor, support: Any) -> Tensor:
    """Return (N, ...) mean features of each class; zero where it has no row. Features are (S, ...)."""
    weights = one_hot(support, features.dtype)
    weights = weights / weights.sum(0).clamp_min(1)
    return torch.einsum("sn,s...->n...", weights, features)


def mask_absent(logits: Tensor, is_present: Tensor) -> Tensor:
    """Return logits (Q, N, ...) with absent classes (N,) at ABSENT."""
    shape = (1, -1) + (1,) * (logits.ndim - 2)
    return hidden(logits, is_present.reshape(shape))


def label_features(support: Any, width: int, dtype: torch.dtype) -> Tensor:
    """Return labels as (S, width) numbers that a net can read, zero in padding rows.

    Classes are one-hot, with zeros for those that the task lacks; targets of regression are flattened.

    Raises:
        InputError: the task has more ways than `width`, or its rows have another number of targets.
    """
    if support.ways is None:
        targets: Tensor = support.labels.reshape(len(support.labels), -1)
        if targets.shape[1] != width:
            raise InputError(f"a row has {targets.shape[1]} targets but the learner was built with outputs={width}")
        if support.mask is not None:
            targets = torch.where(support.mask.unsqueeze(1), targets, torch.zeros_like(targets))
        return targets
    indicators = one_hot(support, dtype)
    if support.ways > width:
        raise InputError(
            f"the task has {support.ways} ways but the learner was built with outputs={width}; build it with "
            f"outputs={support.ways} and meta-train it (quickstudy train: --ways and --train-ways {support.ways})"
        )
    return torch.nn.functional.pad(indicators, (0, width - support.ways))
