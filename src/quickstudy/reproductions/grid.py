"""Many rows at once: one for each point of a plot, trained side by side."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from quickstudy.console import Tick
from quickstudy.reproductions.cores import side_by_side
from quickstudy.reproductions.row import Row, measure
from quickstudy.reproductions.trained import place, train

QUICK: dict[str, Any] = {"steps": 2, "hidden": 8, "validation_tasks": 5}
"""Options of recipes with which a plot is drawn in a minute, to see that everything works."""


def grid(
    rows: Mapping[str, Row], folder: Path, tick: Tick, quick: bool = False, seeds: int = 1, here: bool | None = None
) -> dict[str, dict[str, Any]]:
    """Return what `row.measure` finds of each row; what is trained and what is measured is kept in the folder.

    Args:
        rows: by name.
        folder: gets a folder for each, and `trained/`.
        tick: told how many trained runs of how many there are.
        quick: the small settings.
        seeds: repetitions of each.
        here: as for `row.measure`.
    """
    pieces = {}
    for name, row in rows.items():
        for number in range(seeds):
            recipe = row.make(number, quick)
            run = place(recipe, row.varies, folder / name)
            pieces[str(run)] = functools.partial(train, recipe, run)
    done = 0
    tick(done, len(pieces))
    for _ in side_by_side(pieces, torch.cuda.is_available() if here is None else here):
        done += 1
        tick(done, len(pieces))
    return {name: measure(row, folder / name, lambda *_: None, quick, seeds, here=True) for name, row in rows.items()}
