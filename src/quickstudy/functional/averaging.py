"""Averages of several answers to one question: predictions of M models or draws, averaged as probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from quickstudy.functional.predictive import GaussianMixture


def each(function: Callable[..., Any], *stacked: Any) -> Any:
    """Return a function's results for each of M particles, models or draws, the first dimension of its arguments."""
    return torch.func.vmap(function, randomness="different")(*stacked)


def average_logits(logits: Tensor) -> Tensor:
    """Return (Q, N) log-probabilities of the mean of the probabilities that logits (M, Q, N) stand for."""
    return torch.logsumexp(torch.log_softmax(logits, -1), 0) - math.log(len(logits))


def mixture(means: Tensor, std: Tensor) -> GaussianMixture:
    """Return the mixture, with equal weights, of normal distributions with means (M, Q, ...) and one deviation."""
    count, rows = means.shape[:2]
    moved = means.movedim(0, 1)
    return GaussianMixture(moved, std.expand_as(moved), means.new_full((rows, count), -math.log(count)))
