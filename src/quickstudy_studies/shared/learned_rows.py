"""Helpers of studies of learned data: accuracies of nets trained anew, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy import batching
from quickstudy.core import Examples, State
from quickstudy.functional import random
from quickstudy.learners import L2O
from quickstudy.tasks import Restarts

Runs = Sequence[dict[str, Any]]


def trained(
    net: nn.Module, learner: L2O, rows: Examples, query: Examples, starts: int = 3, seed: int = 0
) -> tuple[State, Tensor]:
    """Return the states of nets trained on rows from as many starts, and their probabilities (starts, Q, N)."""
    batch = Restarts(net, rows, query, seed=seed).batch(0, starts)
    keys = random.fold_in(random.learner_keys(seed, torch.arange(starts)), 4)
    with torch.no_grad():
        states = batching.adapt(learner, batch.support, keys)
        return states, batching.predict(learner, states, batch.query.inputs).softmax(-1)


def accuracy(net: nn.Module, learner: L2O, rows: Examples, query: Examples, starts: int = 3, seed: int = 0) -> float:
    """Return the mean accuracy on a query of nets trained on rows from as many starts."""
    _, shares = trained(net, learner, rows, query, starts, seed)
    return float((shares.argmax(-1) == query.labels).float().mean())


def mean(runs: Runs, way: str) -> float:
    """Return the mean accuracy of a way."""
    return statistics.fmean(each["accuracy"][way] for each in runs)


def table(runs: Runs, ways: Mapping[str, str]) -> str:
    """Return the Markdown table of accuracies, by way and its name."""
    lines = ["| trained on | test accuracy, mean | lowest | highest |", "|---|---|---|---|"]
    for way, name in ways.items():
        values = [100 * each["accuracy"][way] for each in runs]
        lines.append(f"| {name} | {statistics.fmean(values):.1f} | {min(values):.1f} | {max(values):.1f} |")
    return "\n".join(lines)


def told(runs: Runs, ways: Mapping[str, str]) -> str:
    """Return the accuracies in a line."""
    return "Test accuracy: " + ", ".join(f"{name} {100 * mean(runs, way):.1f} %" for way, name in ways.items())
