"""The Omniglot challenge alphabet by alphabet: which ones are hard, each asked of the run that never saw it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from quickstudy.cli.console import Tick
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import evaluate, interval95
from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS, OmniglotChallenge
from quickstudy.registry import register
from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.data.source_pairs import SourcePairs
from quickstudy_studies.shared.cores import side_by_side
from quickstudy_studies.shared.grid import QUICK

ROW = "omniglot-challenge"
WAYS, TASKS = 20, 100
PEOPLE, PLAIN = 0.045, 0.137
"""Published errors on other alphabets: of people, and of a Prototypical network."""
MARK = "*"
Found = Mapping[str, Mapping[str, Any]]


@register("reproduction", "challenge-alphabets")
def challenge_alphabets(folder: Path, tick: Tick, quick: bool = False, seeds: int = FOLDS) -> list[str]:
    """The error of the Omniglot challenge on each alphabet, by the run whose fold holds it out.

    Args:
        folder: gets results.json, table.md and alphabets.png; the runs lie in `trained/` beside it, where the row
            `omniglot-challenge` finds them too.
        tick: told how many folds of how many are trained and tested.
        quick: two steps, few tasks.
        seeds: folds that are trained and tested, of five.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.reports.assessment import open_run
    from quickstudy_studies.shared.saving import save

    errors: dict[tuple[str, int], np.ndarray[Any, Any]] = {}
    for fold, run in enumerate(train_all(recipes_of_folds(seeds, quick), folder, tick, quick)):
        opened: Any = open_run(run)
        of = by_alphabet(opened.learner, opened.test.data, 2 if quick else TASKS)
        errors |= {(name, fold): values for name, values in of.items()}
    result = {
        name: {
            "ways": int(name.split()[-1]),
            "mean": float(each.mean()),
            "interval": interval95(each),
            "chosen_on": fold == CHOSEN_ON,
        }
        for (name, fold), each in sorted(errors.items(), key=lambda one: one[1].mean())
    }
    save(folder, result, markdown(result), alphabets=figure(result))
    return ["error by alphabet, %", *markdown(result).splitlines()]


def recipes_of_folds(folds: int, quick: bool, **options: Any) -> list[OmniglotChallenge]:
    """Return the recipe of each fold, with the options of the row of the results."""
    from quickstudy_studies.results.other_rows import OTHERS

    row = next(row for row in OTHERS if row.name == ROW)
    options |= {**QUICK, "combinations": 4} if quick else {}
    row = dataclasses.replace(row, options={**row.options, **options})
    return [row.make(fold, quick=False) for fold in range(min(folds, FOLDS))]  # type: ignore[misc]


def train_all(recipes: Sequence[OmniglotChallenge], folder: Path, tick: Tick, here: bool) -> list[Path]:
    """Train what is not trained yet, where the row of the results finds it too; return the run folders."""
    from quickstudy_studies.shared.trained import place, train

    runs = [place(recipe, "fold", folder) for recipe in recipes]
    pieces = {str(run): functools.partial(train, recipe, run) for recipe, run in zip(recipes, runs, strict=True)}
    tick(0, len(runs))
    for done, _ in enumerate(side_by_side(pieces, here or torch.cuda.is_available())):
        tick(done + 1, len(runs))
    return runs


def by_alphabet(learner: Learner, data: ClassData, tasks: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return the error (T,) of each task of each alphabet, by the alphabet's name and the ways."""
    found = {}
    for name, classes in data.groups("alphabet").items():
        asked, ways = _most_ways(data.subset([data.classes[i] for i in classes]))
        found[f"{name} {ways}"] = 1 - evaluate(learner, asked, tasks, curve_steps=0).values
    return found


def _most_ways(data: Any) -> tuple[TaskDistribution, int]:
    """Return tasks of as many characters, up to 20, as any two people have both drawn."""
    shared = [set(data.labels[data.source == source].tolist()) for source in data.source.unique()]
    ways = min(WAYS, max(len(one & other) for i, one in enumerate(shared) for other in shared[:i]))
    return SourcePairs(data, ways, seed=2), ways


def markdown(found: Found) -> str:
    """Return errors in per cent, with a mean of those that settings were not chosen on and have 20 characters."""
    own = [each["mean"] for each in found.values() if each["ways"] == WAYS and not each["chosen_on"]]
    lines = ["| alphabet | characters a task | error |", "|---|---|---|"]
    for name, each in found.items():
        error = f"{100 * each['mean']:.1f} ± {100 * each['interval']:.1f} %"
        lines.append(f"| {_plain(name)}{MARK * each['chosen_on']} | {each['ways']} | {error} |")
    lines += [
        "",
        f"Over the {len(own)} alphabets with {WAYS} characters that settings were not chosen on (those are marked "
        f"{MARK}): mean {100 * np.mean(own):.1f} %, median {100 * np.median(own):.1f} %; "
        f"{sum(each <= PEOPLE for each in own)} have an error of at most {100 * PEOPLE:g} %.",
    ]
    return "\n".join(lines)


def _plain(name: str) -> str:
    """Return an alphabet's name as a reader writes it."""
    return name.rpartition(" ")[0].replace("_", " ")


@styled
def figure(found: Found) -> Figure:
    """Draw a bar for each alphabet, beside published errors on other alphabets."""
    drawn = Figure(figsize=(8, 0.5 + 0.2 * len(found)))
    axes: Any = drawn.add_subplot()
    names = [
        _plain(name) + MARK * each["chosen_on"] + (f" ({each['ways']})" if each["ways"] < WAYS else "")
        for name, each in found.items()
    ]
    means, widths = ([100 * each[what] for each in found.values()] for what in ("mean", "interval"))
    axes.barh(names, means, xerr=widths, color=COLOURS[0], error_kw={"elinewidth": 1, "ecolor": GREY})
    for error, label in ((PEOPLE, "people"), (PLAIN, "Prototypical network, published")):
        axes.axvline(100 * error, color=COLOURS[3], linewidth=1, linestyle=":")
        axes.text(100 * error, 0, f" {label}", color=COLOURS[3], fontsize=8, va="center")
    axes.invert_yaxis()
    axes.set_xlabel(f"error, %; in brackets: characters, if fewer than 20; {MARK}: settings were chosen on it")
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(found) - 0.4, -0.6)
    return drawn
