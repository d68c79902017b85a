"""A bound on the error in new tasks beside the error measured there, by the number of tasks that were learned from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from quickstudy_studies.driver import Plan, Study, in_runs, of_runs
from quickstudy_studies.pac_bayes import page
from quickstudy_studies.pac_bayes.run import COUNTS, DIMENSIONS, ROWS, bounded, overfitted


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """PAC-Bayes bounds of meta-learned priors beside the error in new tasks, by the number of tasks learned from.

    Args:
        folder: gets results.json, table.md and bounds.png.
        quick: two numbers of tasks, few steps.
        seeds: of the tasks.
    """
    steps = 5 if quick else 100
    pieces = {
        f"{count} tasks, seed {seed}": partial(one, count, seed, steps)
        for count in COUNTS[: 2 if quick else None]
        for seed in range(1 if quick else seeds)
    }
    return in_runs(pieces, {"steps": steps}, dimensions=DIMENSIONS, rows=ROWS)


def one(count: int, seed: int, steps: int) -> dict[str, Any]:
    """Return bounds and errors of the two priors that are learned from so many tasks."""
    return {"tasks": count, "seed": seed, **bounded(count, seed, steps), **overfitted(count, seed, 3 * steps)}


pac_bayes = Study(
    "pac-bayes", plan, of_runs(page.markdown), of_runs(page.summary), {"bounds": of_runs(page.figure)}, seeds=10
)
