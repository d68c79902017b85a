"""Example weights learned under wrong labels: Meta-Weight-Net on scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "noisy-labels")
def noisy_labels(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Meta-Weight-Net on digits of which 40 % have a wrong label: what it wins back, and how it weighs them.

    Args:
        folder: gets results.json, table.md and weights.png.
        tick: told how many runs of how many are done.
        quick: one seed, a few steps.
        seeds: splits, wrong labels and beginnings.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.noisy_labels import page as weighing_page
    from quickstudy_studies.noisy_labels import run as weighing
    from quickstudy_studies.shared.saving import save

    found = []
    settings = weighing.Settings(steps=10, outer_steps=4) if quick else weighing.Settings()
    count = 1 if quick else seeds
    tick(0, count)
    for seed in range(1, count + 1):
        found.append(weighing.run(seed, settings))
        tick(seed, count)
    results = {"settings": vars(settings), "runs": found}
    save(folder, results, weighing_page.markdown(found), weights=weighing_page.figure(found))
    return weighing_page.summary(found)
