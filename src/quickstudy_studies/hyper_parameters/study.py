"""Hyper-parameters by hyper-gradients, beside Optuna."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from quickstudy_studies.driver import Found, Part, Plan, Study, of_runs, of_this_code
from quickstudy_studies.hyper_parameters import page
from quickstudy_studies.hyper_parameters.run import KINDS, Settings, followed, sampled
from quickstudy_studies.shared.cores import Piece


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Find 64 weight decays, and 4 hyper-parameters, on digits: hyper-gradients beside 100 training runs of Optuna.

    Args:
        folder: gets results.json, table.md and searches.png.
        quick: one repetition, a few steps.
        seeds: repetitions: splits, beginnings and seeds of Optuna.

    Raises:
        InputError: Optuna is not installed.
    """
    settings = Settings(steps=10, runs=3, trials=3) if quick else Settings()
    numbers = range(1, 2 if quick else seeds + 1)
    pieces: dict[str, Piece] = {f"Optuna, {which}": partial(sampled, which, numbers, settings) for which in KINDS}
    pieces |= {f"hyper-gradients {seed}": partial(followed, seed, settings) for seed in numbers}

    def results(found: Found) -> dict[str, Any]:
        runs = [
            {
                "seed": seed,
                **{
                    which: found[f"Optuna, {which}"][str(seed)] | found[f"hyper-gradients {seed}"][which]
                    for which in KINDS
                },
            }
            for seed in numbers
        ]
        return {"settings": vars(settings), "runs": runs}

    # Searches by Optuna run side by side, so that they belong to all seeds.
    key = of_this_code(seeds=len(numbers), **vars(settings))
    return Plan((Part(pieces, key),), results)


hyper_parameters = Study(
    "hyper-parameters", plan, of_runs(page.markdown), of_runs(page.summary), {"searches": of_runs(page.figure)}
)
