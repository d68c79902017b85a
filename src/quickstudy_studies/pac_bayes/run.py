"""Runs of a stochastic linear classifier whose prior is learned from half-spaces: bounds, and errors measured."""

from __future__ import annotations

from typing import Any

from quickstudy import learners, outer, tasks
from quickstudy.batching import adapt, map_tasks
from quickstudy.functional.pac_bayes import BOUNDS
from quickstudy.objectives import PACBayes
from quickstudy.training.starting import meta_train

COUNTS = (4, 16, 64, 256, 1024, 4096)
DIMENSIONS, ROWS = 4, 400
FEW, WIDE = 3, 20
"""Rows and dimensions of the tasks on which a prior overfits."""


def bounded(count: int, seed: int, steps: int) -> dict[str, float]:
    """Meta-learn a prior by the bound of so many tasks; return the bounds with all terms, and errors measured."""
    learner = learners.GibbsClassifier(None, 2, DIMENSIONS)
    objective = PACBayes(count)
    seen = tasks.HalfSpaces(DIMENSIONS, ROWS, tasks=count, seed=seed)
    how = outer.Gradient(0.05, schedule="cosine")
    meta_train(learner, seen, how, steps=steps, meta_batch=min(count, 64), objective=objective, progress=False)
    found = _bounds(learner, seen, count)
    # Tasks of another stream, none of which was learned from.
    new = tasks.HalfSpaces(DIMENSIONS, ROWS, 500, seed=seed + 10_000)
    return {**found, "seen tasks": _error(learner, seen, count), "error": _error(learner, new, 1000)}


def overfitted(count: int, seed: int, steps: int) -> dict[str, float]:
    """Meta-learn a prior by the query loss of tasks of few rows; return bounds, and errors in them and in new ones."""
    learner = learners.GibbsClassifier(None, 2, WIDE)
    seen = tasks.HalfSpaces(WIDE, FEW, FEW, spread=1.0, tasks=count, seed=seed)
    how = outer.Gradient(0.05, schedule="cosine")
    meta_train(learner, seen, how, steps=steps, meta_batch=min(count, 64), progress=False)
    new = tasks.HalfSpaces(WIDE, FEW, 100, spread=1.0, seed=seed + 10_000)
    bounds = {f"few {name}": value for name, value in _bounds(learner, seen, count).items()}
    return {**bounds, "seen": _error(learner, seen, count), "new": _error(learner, new, 2000)}


def _bounds(learner: Any, seen: Any, count: int) -> dict[str, float]:
    """Return the bounds of a learner that has learned from so many tasks, and their terms."""
    found: dict[str, float] = {}
    batch = seen.batch(0, count)
    for name in BOUNDS:
        bound = PACBayes(count, bound=name).of(learner, batch)
        found |= {name: float(bound.total), **{f"{name} {k}": float(value) for k, value in bound._asdict().items()}}
    return found


def _error(learner: Any, tasks: Any, count: int) -> float:
    """Return the mean error of the stochastic classifier on the query rows of tasks."""
    batch = tasks.batch(0, count)
    return float(map_tasks(learner.gibbs_errors, adapt(learner, batch.support), batch.query).mean().detach())
