"""How much of the challenge's error is that alphabets are new: its tasks, of a run that knows them by other hands.

Both are asked the same, in the hands of the 6 of 20 people whose drawings the run that knows was not trained on. It was
trained on all 30 alphabets and so on fewer drawings of each; the others on 24, by all 20 people.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.evaluation import interval95
from quickstudy.functional.checks import as_device
from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS, OmniglotChallenge
from quickstudy.storage.checkpoint import load
from quickstudy_studies.challenge.challenge_alphabets import TASKS, WAYS, alone, by_alphabet, recipes_of_folds
from quickstudy_studies.driver import Part, Plan, Study, of_this_code
from quickstudy_studies.shared.cores import Piece
from quickstudy_studies.shared.trained import place, train

Found = Mapping[str, Mapping[str, Any]]


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """The challenge in the hands of 6 of 20 people, asked of a run that knows the alphabets and of others.

    Args:
        folder: gets results.json and table.md; the runs lie in `trained/` beside it, where those of
            `omniglot-challenge` and `challenge-alphabets` are found.
        quick: two steps, few tasks.
        seeds: folds, of five, to whose alphabets the comparison is kept.
    """
    known, new = recipes_of_folds(1, quick, train_on="known")[0], recipes_of_folds(seeds, quick)
    tasks, where = 2 if quick else TASKS, {id(each): place(each, "fold", folder) for each in (known, *new)}
    runs: dict[str, Piece] = {f"run {where[id(each)]}": partial(train, each, where[id(each)]) for each in (known, *new)}
    asked = {
        f"fold {fold}": partial(compared, known, where[id(known)], recipe, where[id(recipe)], tasks)
        for fold, recipe in enumerate(new)
    }
    key = of_this_code(tasks=tasks, quick=quick)
    return Plan(
        (Part(runs, key, "runs.json", here=alone(quick)), Part(asked, key)),
        lambda found: {name: each for fold in asked for name, each in found[fold].items()},
    )


def compared(
    known: OmniglotChallenge, knows: Path, recipe: OmniglotChallenge, run: Path, tasks: int
) -> dict[str, dict[str, Any]]:
    """Return the errors, on the alphabets that a fold holds out, of its run and of the one that knows them.

    Args:
        known: recipe of the run that knows the alphabets.
        knows: its folder.
        recipe: of the fold.
        run: its folder.
        tasks: of each alphabet.
    """
    for each, at in ((known, knows), (recipe, run)):
        train(each, at)  # unless it is there
    asked = known.splits()[2].subset(list(recipe.splits()[2].classes))
    new, old = (by_alphabet(load(which).to(as_device("auto")), asked, tasks) for which in (run, knows))
    return {
        name: {
            "new": float(new[name].mean()),
            "known": float(old[name].mean()),
            "ways": int(name.split()[-1]),
            "chosen_on": recipe.fold == CHOSEN_ON,
        }
        for name in new
    }


def markdown(found: Found) -> str:
    """Return mean errors in per cent and their difference, by what the alphabets were used for and how many characters
    tasks of them have; intervals are for other alphabets."""
    lines = ["| alphabets | number | error where new | where known | difference |", "|---|---|---|---|---|"]
    for told, chosen_on in (("settings not chosen on them", False), ("settings chosen on them", True)):
        for size, whole in ((f"{WAYS} characters", True), ("fewer characters", False)):
            own = [each for each in found.values() if (each["chosen_on"], each["ways"] == WAYS) == (chosen_on, whole)]
            if len(own) > 1:
                new, known = (np.array([100 * each[what] for each in own]) for what in ("new", "known"))
                difference = f"{(new - known).mean():.1f} ± {interval95(new - known):.1f}"
                lines.append(
                    f"| {size}, {told} | {len(own)} | {new.mean():.1f} % | {known.mean():.1f} % | {difference} |"
                )
    return "\n".join(lines)


def summary(found: Found) -> list[str]:
    """Return the table's lines."""
    return markdown(found).splitlines()


challenge_known = Study("challenge-known", plan, markdown, summary, seeds=FOLDS)
