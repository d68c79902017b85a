"""Hidden parameters of real systems, found by judging what was trained in a simulator by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from quickstudy import outer
from quickstudy_studies.driver import Plan, Study, in_runs, of_runs
from quickstudy_studies.shared.simulated import CASES
from quickstudy_studies.simulators import page
from quickstudy_studies.simulators.run import followed

WAYS: dict[str, tuple[Callable[[], outer.Outer], int]] = {
    "gradient": (lambda: outer.Gradient(0.1, schedule="cosine"), 150),
    "evolution strategies": (lambda: outer.EvolutionStrategies(12, 0.05, lr=0.1, schedule="cosine"), 150),
    "CMA-ES": (lambda: outer.CMAES(0.3), 60),
}
"""Outer optimisers, and the steps of each."""


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Hidden parameters of a pendulum and a cart-pole, by gradient, evolution strategies and CMA-ES.

    A ridge regression on cubic features is trained on the simulator's transitions alone; the outer loop changes the
    simulator so that it predicts the real system's trajectories.

    Args:
        folder: gets results.json, table.md and parameters.png.
        quick: a few steps.
        seeds: of the tasks and of what outer optimisers draw.
    """
    pieces = {
        f"{case}, {way} {seed}": partial(one, case, way, seed, 3 if quick else steps)
        for case in CASES
        for way, (_, steps) in WAYS.items()
        for seed in range(1 if quick else seeds)
    }
    return in_runs(pieces, {"quick": quick}, cases={name: case._asdict() for name, case in CASES.items()})


def one(case: str, way: str, seed: int, steps: int) -> dict[str, Any]:
    """Return how an outer optimiser changed a simulator's parameters."""
    build, _ = WAYS[way]
    return {"case": case, "outer": way, "seed": seed, "path": followed(CASES[case], build(), steps, seed)}


simulators = Study(
    "simulators", plan, of_runs(page.markdown), of_runs(page.summary), {"parameters": of_runs(page.figure)}
)
