"""A bound on the error in new tasks beside the error measured there, by the number of tasks that were learned from."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "pac-bayes")
def pac_bayes(folder: Path, tick: Tick, quick: bool = False, seeds: int = 10) -> list[str]:
    """PAC-Bayes bounds of meta-learned priors beside the error in new tasks, by the number of tasks learned from.

    Args:
        folder: gets results.json, table.md and bounds.png.
        tick: told how many runs of how many are done.
        quick: two numbers of tasks, few steps.
        seeds: of the tasks.

    Returns:
        Lines that say where the bounds hold and are below 1/2, the error without knowledge.
    """
    from quickstudy.reports import plots
    from quickstudy.storage.checkpoint import write_atomically, write_json
    from quickstudy_studies.pac_bayes import page as bounds_page
    from quickstudy_studies.pac_bayes import run as bounds

    plan = [(n, seed) for n in bounds.COUNTS[: 2 if quick else None] for seed in range(1 if quick else seeds)]
    steps = 5 if quick else 100
    runs = []
    for done, (count, seed) in enumerate(plan):
        tick(done, len(plan))
        found = bounds.bounded(count, seed, steps) | bounds.overfitted(count, seed, 3 * steps)
        runs.append({"tasks": count, "seed": seed, **found})
    tick(len(plan), len(plan))
    write_json(folder / "results.json", {"dimensions": bounds.DIMENSIONS, "rows": bounds.ROWS, "runs": runs})
    write_atomically(folder / "table.md", (bounds_page.markdown(runs) + "\n").encode())
    write_atomically(folder / "bounds.png", plots.file(bounds_page.figure(runs), "png"))
    return bounds_page.summary(runs)
