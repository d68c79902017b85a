"""A controller trained in a simulator that the real system's cost corrects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from quickstudy import outer
from quickstudy_studies.balancing import page
from quickstudy_studies.balancing import run as regulator
from quickstudy_studies.driver import Plan, Study, in_runs, of_runs

WAYS: dict[str, Callable[[], outer.Outer]] = {
    "gradient": lambda: outer.Gradient(0.05, clip=1.0, schedule="cosine"),
    "evolution strategies": lambda: outer.EvolutionStrategies(12, 0.05, lr=0.05, schedule="cosine"),
}


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """A controller of a cart-pole, trained in a simulator that is changed until it does best on the real one.

    Args:
        folder: gets results.json, table.md and balancing.png.
        quick: one seed, a few steps.
        seeds: of the starts and of what outer optimisers draw.
    """
    steps = 2 if quick else 60
    pieces = {f"{way} {seed}": partial(one, way, seed, steps) for way in WAYS for seed in range(1 if quick else seeds)}
    return in_runs(pieces, {"steps": steps}, case=regulator.CASE._asdict())


def one(way: str, seed: int, steps: int) -> dict[str, Any]:
    """Return what a controller cost while an outer optimiser changed its simulator."""
    return {"outer": way, "seed": seed, **regulator.trained(WAYS[way](), steps, seed)}


balancing = Study("balancing", plan, of_runs(page.markdown), of_runs(page.summary), {"balancing": of_runs(page.figure)})
