"""How much of the challenge's error is that alphabets are new: its tasks, of a run that knows them by other hands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.checkpoint import load
from quickstudy.console import Tick
from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS
from quickstudy.registry import register
from quickstudy.reproductions.challenge_alphabets import TASKS, by_alphabet, recipes, train_all

Found = Mapping[str, Mapping[str, Any]]


@register("reproduction", "challenge-known")
def challenge_known(folder: Path, tick: Tick, quick: bool = False, seeds: int = FOLDS) -> list[str]:
    """The challenge asked in the hands of a third of the people, of runs that know the alphabets and that do not.

    Args:
        folder: gets results.json and table.md; the runs lie in `trained/` beside it, where those of
            `omniglot-challenge` and `challenge-alphabets` are found.
        tick: told how many runs of how many are trained.
        quick: two steps, few tasks.
        seeds: folds, of five, to whose alphabets the comparison is kept.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.reproductions.saving import save

    known = recipes(1, quick, train_on="known")[0]
    new = recipes(seeds, quick)
    knows, *folds = train_all([known, *new], folder, tick, quick)
    drawings = known.splits()[2]
    result = {}
    for fold, (recipe, run) in enumerate(zip(new, folds, strict=True)):
        held = recipe.splits()[2]
        asked = drawings.subset(list(held.classes))
        errors = [by_alphabet(load(which), asked, 2 if quick else TASKS) for which in (run, knows)]
        for name in errors[0]:
            means = (float(each[name].mean()) for each in errors)
            result[name] = {**dict(zip(("new", "known"), means, strict=True)), "chosen_on": fold == CHOSEN_ON}
    save(folder, result, table := markdown(result))
    return table.splitlines()


def markdown(found: Found) -> str:
    """Return mean errors in per cent, over alphabets that settings were not chosen on and over those that they were."""
    lines = ["| alphabets | number | error where new | error where known |", "|---|---|---|---|"]
    for label, chosen_on in (("settings not chosen on them", False), ("settings chosen on them", True)):
        own = [each for each in found.values() if each["chosen_on"] == chosen_on]
        if own:
            new, known = (100 * np.mean([each[what] for each in own]) for what in ("new", "known"))
            lines.append(f"| {label} | {len(own)} | {new:.1f} % | {known:.1f} % |")
    return "\n".join(lines)
