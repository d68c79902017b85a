"""Weights of auxiliary losses, learned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "auxiliary-losses")
def auxiliary_losses(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Which auxiliary losses help a net on 100 digits: a teacher's logits, reconstruction, random numbers; learned.

    Args:
        folder: gets results.json, table.md and weights.png.
        tick: told how many repetitions of how many are done.
        quick: one repetition, a few steps.
        seeds: splits, beginnings and random numbers.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.recipes.tuning import DigitsAuxiliary
    from quickstudy_studies.auxiliary_losses import run as helping
    from quickstudy_studies.shared.saving import save

    found, count = [], 1 if quick else seeds
    tick(0, count)
    for seed in range(1, count + 1):
        recipe = DigitsAuxiliary(split=seed, seed=seed, device="cpu")
        if quick:
            recipe = dataclasses.replace(recipe, inner_steps=5, steps=2, teaching=5)
        found.append(helping.run(recipe))
        tick(seed, count)
    save(folder, {"runs": found}, helping.markdown(found), weights=helping.figure(found))
    return helping.summary(found)
