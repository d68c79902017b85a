"""The shipped learned optimiser on twenty problems outside the family it was meta-trained on."""

from __future__ import annotations

import datetime
import platform
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import sklearn
import torch

from quickstudy import optim
from quickstudy.engine.hardware import processor
from quickstudy_studies.driver import Found, Part, Plan, Study, of_this_code
from quickstudy_studies.learned_optimizer import comparison, page
from quickstudy_studies.learned_optimizer.step_time import SIZES, step_times

TIMES = "step times"


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Compare the shipped learned optimiser with SGD, Adam and AdamW, their rates tuned, on 20 held-out problems.

    Args:
        folder: gets results.json, table.md and curves.png.
        quick: two problems of a few steps.
        seeds: initialisations and orders of rows.
    """
    optim.shipped()  # An error now, rather than in the middle.
    begun = time.monotonic()
    repeats, sizes = (2, ("small",)) if quick else (30, tuple(SIZES))
    problems = comparison.pieces(folder, quick, seeds)

    def results(found: Found) -> dict[str, Any]:
        return {
            "environment": environment(),
            "seeds": 1 if quick else seeds,
            "minutes": (time.monotonic() - begun) / 60,
            "problems": [found[name] for name in problems],
            "step_times": found[TIMES],
        }

    # Times first, while nothing else runs.
    times = Part({TIMES: partial(step_times, repeats, sizes)}, of_this_code(cpu=processor(), sizes=sizes))
    return Plan((times, Part(problems, file=None, here=quick)), results)


def environment() -> dict[str, Any]:
    """Return when and on what this runs."""
    versions = {"Python": platform.python_version(), "torch": str(torch.__version__)}
    versions |= {"NumPy": numpy.__version__, "scikit-learn": sklearn.__version__}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def summary(content: Any) -> list[str]:
    """Return what came out in a few lines."""
    return ["The learned optimiser", *(f"  {line}" for line in page.summary(content))]


learned_optimizer = Study("learned-optimizer", plan, page.markdown, summary, {"curves": page.curves}, seeds=2)
