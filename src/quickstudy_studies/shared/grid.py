"""Many runs at once: one for each point of a plot, trained and looked at side by side."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.core import Learner
from quickstudy.errors import NonFiniteError
from quickstudy.evaluation import evaluate, find_metric
from quickstudy.recipes.base import Recipe
from quickstudy.registry import lookup
from quickstudy.reports.assessment import open_run
from quickstudy.tasks.base import TaskDistribution
from quickstudy_studies.shared.cores import Piece
from quickstudy_studies.shared.interval import interval
from quickstudy_studies.shared.trained import place, train

QUICK: dict[str, Any] = {"steps": 2, "hidden": 8, "validation_tasks": 5}
"""Options of recipes with which a plot is drawn in a minute, to see that everything works."""
LARGEST = 1e6
Values = list[float]
"""Of each task."""
Look = Callable[..., dict[str, Values]]


def recipe(name: str, **options: Any) -> Recipe:
    """Return a recipe with options."""
    return lookup("recipe", name).build(**options)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Grid:
    """Recipes to train, and how to look at what was trained.

    Runs are kept in `trained/` beside what is found of them, so that a grid can be interrupted, and can grow.

    Attributes:
        recipes: by name.
        folder: gets a folder of each run.
        look: a module's function `look(run, **asked)` that returns the metric of each task, by what was tested.
        seeds: repetitions of each.
        asked: JSON.
    """

    recipes: Mapping[str, Recipe]
    folder: Path
    look: Look
    seeds: int = 1
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pieces(self) -> dict[str, Piece]:
        """Each run, trained and looked at; by its options, so that another recipe may take a name."""
        return {
            name: functools.partial(_piece, each, run, self.look, self.asked)
            for runs in self._runs().values()
            for name, (each, run) in runs.items()
        }

    def gathered(self, found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what was found, by recipe.

        Args:
            found: what the pieces returned, by name.

        Returns:
            What `look` returned of each recipe, as arrays (seeds, T), and 'validation': the best metric on validation
            tasks, a mean over seeds; 'minutes' of training, and by which 'code' on which 'hardware'. Recipes whose
            training diverged with any seed are left out.
        """
        result: dict[str, dict[str, Any]] = {}
        for name, runs in self._runs().items():
            parts = [found[piece] for piece in runs]
            if not all(parts):
                continue
            result[name] = {what: np.array([part["values"][what] for part in parts]) for what in parts[0]["values"]}
            for what in ("validation", "minutes"):
                result[name][what] = float(np.mean([part[what] for part in parts]))
            for what in ("hardware", "code"):
                result[name][what] = ", ".join(sorted({part[what] for part in parts}))
        return result

    def _runs(self) -> dict[str, dict[str, tuple[Recipe, Path]]]:
        """Return the runs of each recipe: the name of the piece, the recipe with its seed, and the folder."""
        found: dict[str, dict[str, tuple[Recipe, Path]]] = {name: {} for name in self.recipes}
        for name, each in self.recipes.items():
            for seed in range(self.seeds):
                own = dataclasses.replace(each, seed=seed)
                run = place(own, "seed", self.folder / name)
                found[name][f"{run.parent.name}, {run.name}"] = (own, run)
        return found


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
    """Return what a grid found as JSON: of metrics of tasks, their mean and the half-width of its 95 % interval."""
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
