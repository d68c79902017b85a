"""Batches of tasks with padding rows, drawn from a seed, and their rows one task at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from quickstudy import Examples

SEEDS = st.integers(0, 2**32 - 1)
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def masked(labels: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], ways: int | None) -> Examples:
    """Return a batched query whose inputs do not matter."""
    inputs = torch.zeros(*labels.shape[:2], 1)
    return Examples(inputs, torch.from_numpy(labels), torch.from_numpy(mask), ways, check=False)


def classes(seed: int, ways: int) -> tuple[torch.Tensor, Examples]:
    """Return logits (T, Q, N) and a query. Some rows have equal logits, and padding rows hold what must not count."""
    draw = np.random.default_rng(seed)
    tasks, rows = draw.integers(1, 5), draw.integers(1, 12)
    logits = draw.normal(size=(tasks, rows, ways))
    copied = draw.integers(0, rows, size=(tasks, rows))
    logits = np.take_along_axis(logits, copied[:, :, None], 1)
    labels, mask = draw.integers(0, ways, size=(tasks, rows)), draw.random((tasks, rows)) < 0.8
    mask[:, 0] = True
    logits[~mask] = draw.choice([np.nan, np.inf, 1e30])
    return torch.from_numpy(logits), masked(labels, mask, ways)


def targets(seed: int, numbers: int, coarse: bool = False) -> tuple[torch.Tensor, Examples]:
    """Return predictions (T, Q, D) and a query; with `coarse` few different numbers, none negative."""
    draw = np.random.default_rng(seed)
    shape = (draw.integers(1, 5), draw.integers(1, 12), numbers)
    found, wanted = draw.normal(size=shape), draw.normal(size=shape)
    if coarse:
        found, wanted = draw.integers(0, 4, shape).astype(float), draw.integers(0, 3, shape).astype(float)
    mask = draw.random(shape[:2]) < 0.8
    mask[:, 0] = True
    found[~mask], wanted[~mask] = 1e30, -1e30
    return torch.from_numpy(found), masked(wanted, mask, None)


def by_task(outputs: torch.Tensor, query: Examples) -> Iterator[Rows]:
    """Yield the answers and the labels of each task's rows that count."""
    assert query.mask is not None
    for answers, labels, mask in zip(outputs, query.labels, query.mask, strict=True):
        yield answers[mask].numpy(), labels[mask].numpy()
