"""Hyper-parameters by hyper-gradients, beside Optuna."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "hyper-parameters")
def hyper_parameters(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Find 64 weight decays, and 4 hyper-parameters, on digits: hyper-gradients beside 100 training runs of Optuna.

    Args:
        folder: gets results.json, table.md and searches.png.
        tick: told how many repetitions of how many are done.
        quick: one repetition, a few steps.
        seeds: repetitions: splits, beginnings and seeds of Optuna.

    Returns:
        Lines that say what came out.

    Raises:
        InputError: Optuna is not installed.
    """
    from quickstudy_studies.hyper_parameters import page as tuning_page
    from quickstudy_studies.hyper_parameters import run as tuning
    from quickstudy_studies.shared.saving import save

    settings = tuning.Settings(steps=10, runs=3, trials=3) if quick else tuning.Settings()
    found = tuning.run(range(1, 2 if quick else seeds + 1), settings, tick)
    results = {"settings": vars(settings), "runs": found}
    save(folder, results, tuning_page.markdown(found), searches=tuning_page.figure(found))
    return tuning_page.summary(found)
