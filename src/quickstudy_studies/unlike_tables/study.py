"""Tables of any size: a learner meta-trained on three of scikit-learn's four tables, and tried on the other one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from quickstudy import learners
from quickstudy.core import Learner
from quickstudy.datasets.tables import TABLES
from quickstudy.evaluation import compare, evaluate, interval95
from quickstudy.recipes.tables import TablesAttributeSets, table_tasks
from quickstudy_studies.driver import Found, Part, Plan, Study, of_runs, of_this_code
from quickstudy_studies.unlike_tables import page
from quickstudy_studies.unlike_tables.page import NAMES, SHOTS

STRENGTHS = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Settings:
    """Settings of a run."""

    steps: int = 2000
    tasks: int = 600
    choosing: int = 200
    """Tasks of each other table on which the strength of logistic regression is chosen."""


class Raw(nn.Flatten):
    """Rows as they are, with what the baselines ask of a net."""

    features = 1


def logistic(c: float) -> Learner:
    """Return logistic regression on raw rows."""
    return learners.LogisticRegressionOnFeatures(Raw(), 2, c, normalise=False)


def run(held_out: str, seed: int, settings: Settings) -> list[dict[str, Any]]:
    """Return accuracies on a table that was held out, for each number of shots, as JSON."""
    recipe = TablesAttributeSets(held_out=held_out, seed=seed, steps=settings.steps)  # type: ignore[arg-type]
    meta = recipe.train(None, progress=False).learner
    found = []
    for shots in SHOTS:
        tasks = {name: table_tasks(name, (shots, shots), 15, recipe.slots) for name in TABLES}
        others = [tasks[name] for name in TABLES if name != held_out]
        # As much is known to it as to the meta-trained learner: what is best on the other tables.
        scores = {c: sum(evaluate(logistic(c), each, settings.choosing).mean for each in others) for c in STRENGTHS}
        best = max(STRENGTHS, key=lambda c: scores[c])
        rivals = [meta, logistic(best), learners.ProtoNet(Raw()), learners.NearestNeighbour()]
        reports, _ = compare(dict(zip(NAMES, rivals, strict=True)), tasks[held_out], settings.tasks)
        values = {name: report.values for name, report in reports.items()}
        found.append({"table": held_out, "shots": shots, "seed": seed, "c": best, **_facts(values)})
    return found


def _facts(values: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Return means and half-widths of 95 % intervals of accuracies, and of how far the first is above each."""
    first = values["meta"]
    return {
        "accuracy": {name: [float(each.mean()), interval95(each)] for name, each in values.items()},
        "gain": {
            name: [float((first - each).mean()), interval95(first - each)]
            for name, each in values.items()
            if name != "meta"
        },
    }


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Tables of different numbers of attributes and classes: each of four held out, and learned from a few rows.

    Args:
        folder: gets results.json, table.md and tables.png.
        quick: one table, a few steps.
        seeds: meta-trainings for each table that is held out.
    """
    settings = Settings(steps=3, tasks=10, choosing=3) if quick else Settings()
    pieces = {
        f"{name} {seed}": partial(run, name, seed, settings)
        for seed in range(1 if quick else seeds)
        for name in list(TABLES)[: 1 if quick else None]
    }

    def results(found: Found) -> dict[str, Any]:
        return {"settings": vars(settings), "runs": [each for runs in found.values() for each in runs]}

    return Plan((Part(pieces, of_this_code(**vars(settings))),), results)


unlike_tables = Study(
    "unlike-tables", plan, of_runs(page.markdown), of_runs(page.summary), {"tables": of_runs(page.figure)}, seeds=1
)
