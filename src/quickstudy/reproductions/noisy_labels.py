"""Example weights learned under wrong labels: Meta-Weight-Net on scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

from quickstudy.console import Tick
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
    from quickstudy import plots
    from quickstudy.checkpoint import write_atomically, write_json
    from quickstudy.reproductions import weighing, weighing_page

    found = []
    settings = weighing.Settings(steps=10, outer_steps=4) if quick else weighing.Settings()
    count = 1 if quick else seeds
    tick(0, count)
    for seed in range(1, count + 1):
        found.append(weighing.run(seed, settings))
        tick(seed, count)
    write_json(folder / "results.json", {"settings": vars(settings), "runs": found})
    write_atomically(folder / "table.md", (weighing_page.markdown(found) + "\n").encode())
    write_atomically(folder / "weights.png", plots.file(weighing_page.figure(found), "png"))
    return weighing_page.summary(found)
