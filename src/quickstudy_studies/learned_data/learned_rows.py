"""What comparisons of learned data share: accuracies of nets trained anew, tables, commands."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy import batching
from quickstudy.cli.console import Tick
from quickstudy.core import Examples, State
from quickstudy.functional import random
from quickstudy.learners import L2O
from quickstudy.tasks import Restarts
from quickstudy_studies.shared.saving import save

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


def reproduce(study: Any, name: str, folder: Path, tick: Tick, quick: bool, seeds: int) -> list[str]:
    """Run a study for each seed, and save what came out.

    Args:
        study: a module with `QUICK` and `Settings`, `run(seed, settings)`, `markdown`, `figure` and `summary` of runs.
        name: of the figure's file.
        folder: gets the files.
        tick: told how many runs of how many are done.
        quick: one seed, with `QUICK` as settings.
        seeds: runs.
    """
    settings, count = (study.QUICK, 1) if quick else (study.Settings(), seeds)
    found = []
    tick(0, count)
    for seed in range(1, count + 1):
        found.append(study.run(seed, settings))
        tick(seed, count)
    results = {"settings": vars(settings), "runs": found}
    save(folder, results, study.markdown(found), **{name: study.figure(found)})
    lines: list[str] = study.summary(found)
    return lines
