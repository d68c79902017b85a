"""A loss that is learned."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy_studies.driver import Plan, Study, in_runs
from quickstudy_studies.learned_loss import page
from quickstudy_studies.learned_loss.run import FAMILIES, Settings, run


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """ML3's learned loss on sinusoids with right and with wrong targets: curves in new tasks, and the loss.

    Args:
        folder: gets results.json, table.md and curves.png.
        quick: one repetition, a few steps.
        seeds: repetitions: beginnings and tasks.
    """
    few = Settings(steps=3, grid=(0.1, 0.2), outer_steps=2, tasks=4, compile=False)
    settings = few if quick else Settings()
    pieces = {
        f"{family} {seed}": partial(run, family, settings, seed)
        for seed in range(1, 2 if quick else seeds + 1)
        for family in FAMILIES
    }
    return in_runs(pieces, vars(settings), settings=vars(settings))


def markdown(content: Any) -> str:
    """Return a table for each family."""
    return page.markdown(content["runs"], content["settings"]["steps"])


def summary(content: Any) -> list[str]:
    """Return what came out in a few lines."""
    return page.summary(content["runs"], content["settings"]["steps"])


def figure(content: Any) -> Figure:
    """Draw the learning curves, and the loss."""
    return page.figure(content["runs"], content["settings"]["steps"])


learned_loss = Study("learned-loss", plan, markdown, summary, {"curves": figure})
