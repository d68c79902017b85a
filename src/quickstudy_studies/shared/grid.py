"""Many runs at once: one for each point of a plot, trained and looked at side by side."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quickstudy.cli.console import Tick
from quickstudy.core import Learner
from quickstudy.errors import NonFiniteError
from quickstudy.evaluation import evaluate, find_metric
from quickstudy.recipes.base import Recipe
from quickstudy.registry import lookup
from quickstudy.reports.assessment import open_run
from quickstudy.tasks.base import TaskDistribution
from quickstudy_studies.results.row_words import interval
from quickstudy_studies.shared.cores import kept
from quickstudy_studies.shared.trained import place, running, train

QUICK: dict[str, Any] = {"steps": 2, "hidden": 8, "validation_tasks": 5}
"""Options of recipes with which a plot is drawn in a minute, to see that everything works."""
LARGEST = 1e6
Values = list[float]
"""Of each task."""
Look = Callable[..., dict[str, Values]]


def recipe(name: str, **options: Any) -> Recipe:
    """Return a recipe with options."""
    return lookup("recipe", name).build(**options)  # type: ignore[no-any-return]


def grid(
    recipes: Mapping[str, Recipe],
    folder: Path,
    tick: Tick,
    look: Look,
    seeds: int = 1,
    here: bool = False,
    **asked: Any,
) -> dict[str, dict[str, Any]]:
    """Train recipes and look at what was trained; both are kept in the folder, so that a grid can be interrupted.

    Args:
        recipes: by name.
        folder: gets a folder of each run in `trained/`, and what was found of them in `found.json`.
        tick: told how many runs of how many are trained and looked at.
        look: a module's function `look(run, **asked)` that returns the metric of each task, by what was tested.
        seeds: repetitions of each.
        here: in this process, one after the other, as where there is a GPU; else side by side, each on one core.
        asked: JSON.

    Returns:
        Of each recipe what `look` returned, as arrays (seeds, T), and 'validation': the best metric on validation
        tasks, a mean over seeds; 'minutes' of training, and by which 'code' on which 'hardware'. Recipes whose training
        diverged with any seed are left out.
    """
    names: dict[str, list[str]] = {name: [] for name in recipes}
    pieces = {}
    for name, each in recipes.items():
        for seed in range(seeds):
            own = dataclasses.replace(each, seed=seed)
            run = place(own, "seed", folder / name)
            # By its options, so that the grid may grow, or another recipe take a name.
            names[name].append(f"{run.parent.name}, {run.name}")
            pieces[names[name][-1]] = functools.partial(_piece, own, run, look, asked)
    key = {**json.loads(json.dumps(asked)), "code": running()}  # as it will be read; other code may find other figures
    here = here or torch.cuda.is_available()
    found = kept(folder / "found.json", key, pieces, lambda done: tick(done, len(pieces)), here)
    result: dict[str, dict[str, Any]] = {}
    for name in recipes:
        parts = [found[piece] for piece in names[name]]
        if not all(parts):
            continue
        result[name] = {what: np.array([part["values"][what] for part in parts]) for what in parts[0]["values"]}
        for what in ("validation", "minutes"):
            result[name][what] = float(np.mean([part[what] for part in parts]))
        for what in ("hardware", "code"):
            result[name][what] = ", ".join(sorted({part[what] for part in parts}))
    return result


def _piece(each: Recipe, run: Path, look: Look, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run; nothing of one whose training diverged."""
    try:
        known = train(each, run)
    except NonFiniteError:
        return {}
    opened = open_run(run)
    facts = {"validation": validation(run), "minutes": known["seconds"] / 60}
    return {**facts, "hardware": known["hardware"], "code": known["code"], "values": look(opened, **asked)}


def validation(run: Path) -> float:
    """Return the best metric on validation tasks of a run folder: that of its best weights."""
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    found = {float(value): name.removeprefix("validation_") for _, name, value in rows if name.startswith("validation")}
    lower = any(find_metric(name).lower_is_better for name in found.values())
    return min(found) if lower else max(found)


def metrics(learner: Learner, tasks: TaskDistribution, count: int) -> np.ndarray[Any, Any]:
    """Return the metric (T,) of each of the first tasks; errors beyond a million, or infinite, are a million."""
    found = evaluate(learner, tasks, count, curve_steps=0).values
    finite: np.ndarray[Any, Any] = np.nan_to_num(found, nan=LARGEST, posinf=LARGEST)
    return finite.clip(max=LARGEST).round(5)


def figures(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what `grid` found as JSON: of metrics of tasks, their mean and the half-width of its 95 % interval."""
    return {
        name: {
            what: {"mean": float(each.mean()), "interval": interval(each)} if isinstance(each, np.ndarray) else each
            for what, each in parts.items()
        }
        for name, parts in found.items()
    }


def bars(
    axes: Any, xs: Sequence[float], parts: Sequence[Mapping[str, float]], factor: float = 100, **style: Any
) -> None:
    """Draw means with their intervals: in per cent, or as another factor has it."""
    means, intervals = ([factor * part[what] for part in parts] for what in ("mean", "interval"))
    axes.errorbar(xs, means, intervals, capsize=2, **style)


def logarithmic(axes: Any, ticks: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with these ticks."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def percent(part: Mapping[str, float]) -> str:
    """Return a mean and its interval in per cent."""
    return f"{100 * part['mean']:.1f} ± {100 * part['interval']:.1f}"
