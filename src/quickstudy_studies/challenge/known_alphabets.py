"""How much of the challenge's error is that alphabets are new: its tasks, of a run that knows them by other hands.

Both are asked the same, in the hands of the 6 of 20 people whose drawings the run that knows was not trained on. It was
trained on all 30 alphabets and so on fewer drawings of each; the others on 24, by all 20 people.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.cli.console import Tick
from quickstudy.evaluation import interval95
from quickstudy.functional.checks import as_device
from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS
from quickstudy.registry import register
from quickstudy.storage.checkpoint import load
from quickstudy_studies.challenge.challenge_alphabets import TASKS, WAYS, by_alphabet, recipes_of_folds, train_all

Found = Mapping[str, Mapping[str, Any]]


@register("reproduction", "challenge-known")
def challenge_known(folder: Path, tick: Tick, quick: bool = False, seeds: int = FOLDS) -> list[str]:
    """The challenge in the hands of 6 of 20 people, asked of a run that knows the alphabets and of those that do not.

    Args:
        folder: gets results.json and table.md; the runs lie in `trained/` beside it, where those of
            `omniglot-challenge` and `challenge-alphabets` are found.
        tick: told how many runs of how many are trained.
        quick: two steps, few tasks.
        seeds: folds, of five, to whose alphabets the comparison is kept.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.shared.saving import save

    known = recipes_of_folds(1, quick, train_on="known")[0]
    new = recipes_of_folds(seeds, quick)
    knows, *folds = train_all([known, *new], folder, tick, quick)
    drawings = known.splits()[2]
    result = {}
    for fold, (recipe, run) in enumerate(zip(new, folds, strict=True)):
        asked = drawings.subset(list(recipe.splits()[2].classes))
        errors = [
            by_alphabet(load(which).to(as_device("auto")), asked, 2 if quick else TASKS) for which in (run, knows)
        ]
        for name in errors[0]:
            means = (float(each[name].mean()) for each in errors)
            result[name] = {
                **dict(zip(("new", "known"), means, strict=True)),
                "ways": int(name.split()[-1]),
                "chosen_on": fold == CHOSEN_ON,
            }
    save(folder, result, table := markdown(result))
    return table.splitlines()


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
