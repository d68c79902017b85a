"""A row of the results: a recipe, its published figure, and what meta-training and testing it here gives.

A row trains with the recipe's options as they are, or with those of a smaller setting that takes minutes on two CPU
cores. Rows that differ in nothing but the test tasks share their trained runs.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quickstudy.cli.console import Tick
from quickstudy.errors import InputError
from quickstudy.evaluation import Report, interval95
from quickstudy.recipes.base import Recipe
from quickstudy.registry import TABLES, Entry, lookup
from quickstudy.reports.assessment import BASELINE, Assessment, OpenedRun, assess, check_unseen, open_run
from quickstudy.storage.checkpoint import load, write_json
from quickstudy_studies.results.row_words import older, summary
from quickstudy_studies.shared.cores import side_by_side
from quickstudy_studies.shared.interval import interval
from quickstudy_studies.shared.trained import place, running, train


@dataclass(frozen=True)
class Row:
    """The figure that is reproduced.

    Attributes:
        name: of the row, as in `quickstudy reproduce NAME`.
        recipe: that trains it.
        what: one line.
        options: of the recipe, where the row departs from its defaults.
        small: further options of the setting for two CPU cores, in minutes.
        test: changes to the test tasks: ways, shots, queries.
        tested_on: the recipe whose test tasks are taken, if not those of `recipe`: of other data, or sequences.
        tested: options of the recipe that make the learner differ in testing, such as its batch-norm policy.
        published: figure, in the unit of the metric (a share, not per cent), or None.
        source: of that figure.
        comparable: whether it is of tasks like these, so that one may say which is better.
        departures: from the paper, in both settings.
        chosen_on: what settings and weights were chosen on.
        tasks: of the test bank.
        seeds: repetitions, unless asked otherwise.
        varies: the recipe's option that numbers the repetitions: 'seed', or 'fold' where each holds out other classes.
        numbers: its values; empty for 0, 1, 2, ...
        presentation: of sequences, the accuracy at the so many-th presentation of a class; else 0.
    """

    name: str
    recipe: str
    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, int] = field(default_factory=dict)
    tested_on: str = ""
    tested: Mapping[str, Any] = field(default_factory=dict)
    published: float | None = None
    source: str = ""
    comparable: bool = True
    departures: str = ""
    chosen_on: str = "validation tasks of the recipe"
    tasks: int = 1000
    seeds: int = 3
    varies: str = "seed"
    numbers: tuple[int, ...] = ()
    presentation: int = 0

    def make(self, seed: int, quick: bool) -> Recipe:
        """Return the recipe of a repetition."""
        options = {**self.options, **(self.small if quick else {}), self.varies: seed}
        return lookup("recipe", self.recipe).build(**options)  # type: ignore[no-any-return]


def enter(row: Row) -> Row:
    """Enter a row into the table of reproductions."""

    def reproduce(folder: Path, tick: Tick, quick: bool = False, seeds: int = row.seeds) -> list[str]:
        found = measure(row, folder, tick, quick, seeds)
        return [summary(found), *older(found)]

    reproduce.__doc__ = row.what
    TABLES.setdefault("reproduction", {})[row.name] = Entry(row.name, reproduce, {"recipe": row.recipe})
    return row


def measure(
    row: Row, folder: Path, tick: Tick, quick: bool = False, seeds: int = 3, here: bool | None = None
) -> dict[str, Any]:
    """Train what is not trained yet, test it on the row's bank, and write `row.json` into the folder.

    Args:
        row: the row.
        folder: for row.json; trained runs lie beside it in `trained/`, where rows that share them find them.
        tick: told how many repetitions of how many are done.
        quick: the small setting.
        seeds: repetitions; they differ in weights and training tasks, and are tested on the same bank.
        here: train in this process, one after the other; False: side by side, each on one core. None chooses the
            former where there is a GPU.

    Returns:
        The content of row.json.
    """
    code = running()
    tick(0, seeds)
    if row.numbers and seeds > len(row.numbers):
        raise InputError(f"{row.name} has {len(row.numbers)} repetitions at most, not {seeds}")
    recipes = [row.make(number, quick) for number in (row.numbers or range(seeds))[:seeds]]
    runs = [place(recipe, row.varies, folder) for recipe in recipes]
    pieces = {str(run): functools.partial(train, recipe, run) for recipe, run in zip(recipes, runs, strict=True)}
    trained = dict(side_by_side(pieces, torch.cuda.is_available() if here is None else here))
    assessments: list[Assessment] = []
    for recipe, run in zip(recipes, runs, strict=True):
        opened = _opened(row, recipe, run)
        same = assessments and row.varies == "seed" and assessments[0].baselines
        assessments.append(
            assess(
                opened,
                row.tasks,
                gap=not row.tested_on,
                baselines=same or None,
                curve_steps=0,
                gap_tasks=min(600, row.tasks),
            )
        )
        tick(len(assessments), seeds)
    found = {**_content(row, recipes[0], assessments, [trained[str(run)] for run in runs], quick), "tested_by": code}
    write_json(folder / "row.json", found)
    return found


def _opened(row: Row, recipe: Recipe, run: Path) -> OpenedRun:
    """Return a trained run with the row's test tasks, and its learner as it is tested."""
    opened = open_run(run, **({} if row.tested_on else row.test))  # type: ignore[arg-type]
    if row.tested_on:
        with torch.random.fork_rng(devices=[]):  # a plan seeds the weights of a new learner
            test = lookup("recipe", row.tested_on).build(**row.test).plan().test
        check_unseen(opened, test)
        opened = dataclasses.replace(opened, plan=dataclasses.replace(opened.plan, test=test))
    if not row.tested:
        return opened
    learner = dataclasses.replace(recipe, **row.tested).plan().learner
    where = next(opened.learner.parameters()).device
    return dataclasses.replace(opened, learner=load(run, learner).to(where))


def _content(
    row: Row, recipe: Recipe, found: Sequence[Assessment], trained: Sequence[Mapping[str, Any]], quick: bool
) -> dict[str, Any]:
    values = np.stack([_values(row, each.report) for each in found])
    nearest = [_values(row, each.baselines[BASELINE]).mean() for each in found if BASELINE in each.baselines]
    gaps = [each.gap[0] for each in found if each.seen is not None]
    test = {name: found[0].report.tasks.get(name) for name in ("tasks", "ways", "shots", "queries")}
    return {
        "row": row.name,
        "quick": quick,
        "recipe": row.recipe,
        "options": {**row.options, **(row.small if quick else {})},
        "steps": recipe.steps,
        "meta_batch": recipe.meta_batch,
        "learner": found[0].report.learner,
        "metric": found[0].report.metric,
        "mean": float(values.mean()),
        "interval": interval(values),
        "seeds": [
            {
                row.varies: row.numbers[i] if row.numbers else i,
                "mean": float(own.mean()),
                "interval": interval95(own),
                "minutes": trained[i]["seconds"] / 60,
            }
            for i, own in enumerate(values)
        ],
        "tasks": len(found[0].report.values),
        "test": {name: value for name, value in test.items() if value is not None},
        "tested_on": row.tested_on,
        "presentations": np.mean([each.report.presentations.mean(0) for each in found], 0).tolist()
        if row.presentation
        else [],
        "published": row.published,
        "source": row.source,
        "comparable": row.comparable,
        "departures": row.departures,
        "chosen_on": row.chosen_on,
        "batch_norm": found[0].report.batch_norm,
        "nearest_neighbour": float(np.mean(nearest)) if nearest else None,
        "overfitting_gap": float(np.mean(gaps)) if gaps else None,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **{name: ", ".join(sorted({str(each[name]) for each in trained})) for name in ("hardware", "code")},
    }


def _values(row: Row, report: Report) -> np.ndarray[Any, Any]:
    """Return (T,) what is reported of each task."""
    return report.presentations[:, row.presentation - 1] if row.presentation else report.values
