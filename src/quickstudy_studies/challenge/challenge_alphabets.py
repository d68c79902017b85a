"""The Omniglot challenge alphabet by alphabet: which ones are hard, each asked of the run that never saw it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import evaluate, interval95
from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS, OmniglotChallenge
from quickstudy.reports.assessment import open_run
from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.data.source_pairs import SourcePairs
from quickstudy_studies.driver import Part, Plan, Study, of_this_code
from quickstudy_studies.results.other_rows import OTHERS
from quickstudy_studies.shared.grid import QUICK
from quickstudy_studies.shared.trained import place, train

ROW = "omniglot-challenge"
WAYS, TASKS = 20, 100
PEOPLE, PLAIN = 0.045, 0.137
"""Published errors on other alphabets: of people, and of a Prototypical network."""
MARK = "*"
Found = Mapping[str, Mapping[str, Any]]


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """The error of the Omniglot challenge on each alphabet, by the run whose fold holds it out.

    Args:
        folder: gets results.json, table.md and alphabets.png; the runs lie in `trained/` beside it, where the row
            `omniglot-challenge` finds them too.
        quick: two steps, few tasks.
        seeds: folds that are trained and tested, of five.
    """
    recipes, tasks = recipes_of_folds(seeds, quick), 2 if quick else TASKS
    pieces = {f"fold {fold}": partial(errors, recipe, folder, tasks) for fold, recipe in enumerate(recipes)}
    return Plan((Part(pieces, of_this_code(tasks=tasks, quick=quick), here=alone(quick)),), results)


def errors(recipe: OmniglotChallenge, folder: Path, tasks: int) -> dict[str, list[float]]:
    """Return the error of each task of each alphabet that a fold holds out; train what is not trained yet."""
    run = place(recipe, "fold", folder)
    train(recipe, run)
    opened: Any = open_run(run)
    found = by_alphabet(opened.learner, opened.test.data, tasks)
    return {name: values.tolist() for name, values in found.items()}


def results(found: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    """Return the mean error on each alphabet, the least first."""
    known = {name: (np.array(each), piece) for piece, parts in found.items() for name, each in parts.items()}
    return {
        name: {
            "ways": int(name.split()[-1]),
            "mean": float(each.mean()),
            "interval": interval95(each),
            "chosen_on": piece == f"fold {CHOSEN_ON}",
        }
        for name, (each, piece) in sorted(known.items(), key=lambda one: one[1][0].mean())
    }


def alone(quick: bool) -> bool:
    """Return whether runs are trained in this process, one after the other."""
    return quick or torch.cuda.is_available()


def recipes_of_folds(folds: int, quick: bool, **options: Any) -> list[OmniglotChallenge]:
    """Return the recipe of each fold, with the options of the row of the results."""
    row = next(row for row in OTHERS if row.name == ROW)
    options |= {**QUICK, "combinations": 4} if quick else {}
    row = dataclasses.replace(row, options={**row.options, **options})
    return [row.make(fold, quick=False) for fold in range(min(folds, FOLDS))]  # type: ignore[misc]


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


def summary(found: Found) -> list[str]:
    """Return the table, and what its figures are."""
    return ["error by alphabet, %", *markdown(found).splitlines()]


challenge_alphabets = Study("challenge-alphabets", plan, markdown, summary, {"alphabets": figure}, seeds=FOLDS)
