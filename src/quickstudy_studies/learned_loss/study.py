"""A loss that is learned."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "learned-loss")
def learned_loss(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """ML3's learned loss on sinusoids with right and with wrong targets: learning curves in new tasks, and the loss.

    Args:
        folder: gets results.json, table.md and curves.png.
        tick: told how many meta-trainings of how many are done.
        quick: one repetition, a few steps.
        seeds: repetitions: beginnings and tasks.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.learned_loss import page as teaching_page
    from quickstudy_studies.learned_loss import run as teaching
    from quickstudy_studies.shared.saving import save

    few = {"steps": 3, "grid": (0.1, 0.2), "outer_steps": 2, "tasks": 4, "compile": False}
    settings = teaching.Settings(**few) if quick else teaching.Settings()  # type: ignore[arg-type]
    plan = [(family, seed) for seed in range(1, 2 if quick else seeds + 1) for family in teaching.FAMILIES]
    found, steps = [], settings.steps
    tick(0, len(plan))
    for number, (family, seed) in enumerate(plan):
        found.append(teaching.run(family, settings, seed))
        tick(number + 1, len(plan))
    results = {"settings": vars(settings), "runs": found}
    save(folder, results, teaching_page.markdown(found, steps), curves=teaching_page.figure(found, steps))
    return teaching_page.summary(found, steps)
