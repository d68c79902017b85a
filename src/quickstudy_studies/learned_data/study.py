"""Commands that run what docs/studies/learned-data.md shows: class imbalance, distillation and augmentation."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "class-imbalance")
def class_imbalance(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Learn weights of two classes, one of them 50 times as frequent: beside plain training and inverse frequencies.

    Args:
        folder: gets results.json, table.md and imbalance.png.
        tick: told how many runs of how many are done.
        quick: one seed, a few steps.
        seeds: splits and beginnings.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.learned_data import imbalance
    from quickstudy_studies.learned_data.learned_rows import reproduce

    return reproduce(imbalance, "imbalance", folder, tick, quick, seeds)


@register("reproduction", "distillation")
def distillation(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Distil 1,000 digits into ten synthetic ones: beside real ones, means of classes, centres, and all rows.

    Args:
        folder: gets results.json, table.md and distilled.png.
        tick: told how many runs of how many are done.
        quick: one seed, a few steps.
        seeds: splits and beginnings.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.learned_data import distilling
    from quickstudy_studies.learned_data.learned_rows import reproduce

    return reproduce(distilling, "distilled", folder, tick, quick, seeds)


@register("reproduction", "augmentation")
def augmentation(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Learn how far to turn upright digits, for queries that are turned by up to 30 degrees.

    Args:
        folder: gets results.json, table.md and augmentation.png.
        tick: told how many runs of how many are done.
        quick: one seed, a few steps.
        seeds: splits and beginnings.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.learned_data import augmenting
    from quickstudy_studies.learned_data.learned_rows import reproduce

    return reproduce(augmenting, "augmentation", folder, tick, quick, seeds)
