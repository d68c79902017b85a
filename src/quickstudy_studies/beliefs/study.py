"""Whether the beliefs of Bayesian learners can be relied on, where few points leave more than one answer open."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "beliefs")
def beliefs(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Bayesian learners beside MAML on noisy sinusoids and half planes: coverage, likelihood, worth of abstaining.

    Args:
        folder: gets results.json, table.md, reliability.png and answers.png.
        tick: told how many runs of how many are done.
        quick: a few steps and tasks.
        seeds: runs of each learner.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.beliefs import page as beliefs_page
    from quickstudy_studies.beliefs import run as believing
    from quickstudy_studies.shared.saving import save

    done, count = 0, 2 * len(believing.RECIPES) * (1 if quick else seeds)

    def tell() -> None:
        nonlocal done
        done += 1
        tick(done, count)

    tick(0, count)
    found = {
        data: believing.run(data, 1 if quick else seeds, 8 if quick else 1000, 3 if quick else None, tell)
        for data in ("sinusoids", "half-planes")
    }
    figures = {"reliability": beliefs_page.curves(found), "answers": beliefs_page.answers(found)}
    save(folder, {"seeds": 1 if quick else seeds, **found}, beliefs_page.markdown(found), **figures)
    return beliefs_page.summary(found)
