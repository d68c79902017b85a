"""Commands that run what docs/studies/learned-data.md shows: class imbalance, distillation and augmentation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from quickstudy_studies.driver import Plan, Study, in_runs, of_runs
from quickstudy_studies.learned_data import augmenting, distilling, imbalance


def _each_seed(of: Any, quick: bool, seeds: int) -> Plan:
    """Return the plan of a module with `QUICK` and `Settings`, and `run(seed, settings)`."""
    settings, count = (of.QUICK, 1) if quick else (of.Settings(), seeds)
    pieces = {f"seed {seed}": partial(of.run, seed, settings) for seed in range(1, count + 1)}
    return in_runs(pieces, vars(settings), settings=vars(settings))


def plan_imbalance(folder: Path, quick: bool, seeds: int) -> Plan:
    """Learn weights of two classes, one 50 times as frequent, beside plain training and inverse frequencies.

    Args:
        folder: gets results.json, table.md and imbalance.png.
        quick: one seed, a few steps.
        seeds: splits and beginnings.
    """
    return _each_seed(imbalance, quick, seeds)


def plan_distillation(folder: Path, quick: bool, seeds: int) -> Plan:
    """Distil 1,000 digits into ten synthetic ones: beside real ones, means of classes, centres, and all rows.

    Args:
        folder: gets results.json, table.md and distilled.png.
        quick: one seed, a few steps.
        seeds: splits and beginnings.
    """
    return _each_seed(distilling, quick, seeds)


def plan_augmentation(folder: Path, quick: bool, seeds: int) -> Plan:
    """Learn how far to turn upright digits, for queries that are turned by up to 30 degrees.

    Args:
        folder: gets results.json, table.md and augmentation.png.
        quick: one seed, a few steps.
        seeds: splits and beginnings.
    """
    return _each_seed(augmenting, quick, seeds)


class_imbalance = Study(
    "class-imbalance",
    plan_imbalance,
    of_runs(imbalance.markdown),
    of_runs(imbalance.summary),
    {"imbalance": of_runs(imbalance.figure)},
)
distillation = Study(
    "distillation",
    plan_distillation,
    of_runs(distilling.markdown),
    of_runs(distilling.summary),
    {"distilled": of_runs(distilling.figure)},
)
augmentation = Study(
    "augmentation",
    plan_augmentation,
    of_runs(augmenting.markdown),
    of_runs(augmenting.summary),
    {"augmentation": of_runs(augmenting.figure)},
)
