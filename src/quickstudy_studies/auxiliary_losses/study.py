"""Weights of auxiliary losses, learned."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from quickstudy.recipes.tuning import DigitsAuxiliary
from quickstudy_studies.auxiliary_losses import run as helping
from quickstudy_studies.driver import Plan, Study, in_runs, of_runs


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Learned weights of auxiliary losses on 100 digits: a teacher's logits, reconstruction, random numbers.

    Args:
        folder: gets results.json, table.md and weights.png.
        quick: one repetition, a few steps.
        seeds: splits, beginnings and random numbers.
    """
    options: dict[str, Any] = {"inner_steps": 5, "steps": 2, "teaching": 5} if quick else {}
    recipes = {
        f"split {seed}": DigitsAuxiliary(split=seed, seed=seed, device="cpu", **options)
        for seed in range(1, (1 if quick else seeds) + 1)
    }
    return in_runs({name: partial(helping.run, recipe) for name, recipe in recipes.items()}, options)


auxiliary_losses = Study(
    "auxiliary-losses",
    plan,
    of_runs(helping.markdown),
    of_runs(helping.summary),
    {"weights": of_runs(helping.figure)},
)
