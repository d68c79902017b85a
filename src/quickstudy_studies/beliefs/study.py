"""Whether the beliefs of Bayesian learners can be relied on, where few points leave more than one answer open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickstudy_studies.beliefs import page
from quickstudy_studies.beliefs.run import gathered, pieces
from quickstudy_studies.driver import Found, Part, Plan, Study, of_this_code

DATA = ("sinusoids", "half-planes")


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Bayesian learners beside MAML on noisy sinusoids and half planes: coverage, likelihood, worth of abstaining.

    Args:
        folder: gets results.json, table.md, reliability.png and answers.png.
        quick: a few steps and tasks.
        seeds: runs of each learner.
    """
    count, tasks, steps = (1, 8, 3) if quick else (seeds, 1000, None)
    runs = {name: piece for data in DATA for name, piece in pieces(data, count, tasks, steps).items()}

    def results(found: Found) -> dict[str, Any]:
        return {"seeds": count, **{data: gathered(data, count, tasks, found) for data in DATA}}

    return Plan((Part(runs, of_this_code(tasks=tasks, steps=steps)),), results)


beliefs = Study("beliefs", plan, page.markdown, page.summary, {"reliability": page.curves, "answers": page.answers})
