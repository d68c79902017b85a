"""Example weights learned under wrong labels: Meta-Weight-Net on scikit-learn's digits."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from quickstudy_studies.driver import Plan, Study, in_runs, of_runs
from quickstudy_studies.noisy_labels import page
from quickstudy_studies.noisy_labels.run import Settings, run


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Meta-Weight-Net on digits of which 40 % have a wrong label: what it wins back, and how it weighs them.

    Args:
        folder: gets results.json, table.md and weights.png.
        quick: one seed, a few steps.
        seeds: splits, wrong labels and beginnings.
    """
    settings = Settings(steps=10, outer_steps=4) if quick else Settings()
    numbers = range(1, (1 if quick else seeds) + 1)
    pieces = {f"seed {seed}": partial(run, seed, settings) for seed in numbers}
    return in_runs(pieces, vars(settings), settings=vars(settings))


noisy_labels = Study(
    "noisy-labels", plan, of_runs(page.markdown), of_runs(page.summary), {"weights": of_runs(page.figure)}
)
