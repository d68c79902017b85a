"""The shipped learned optimiser on twenty problems outside the family it was meta-trained on."""

from __future__ import annotations

import datetime
import platform
import time
from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "learned-optimizer")
def learned_optimizer(folder: Path, tick: Tick, quick: bool = False, seeds: int = 2) -> list[str]:
    """Compare the shipped learned optimiser with SGD, Adam and AdamW, their rates tuned, on 20 held-out problems.

    Args:
        folder: gets results.json, table.md and curves.png.
        tick: told how many problems of how many are done.
        quick: two problems of a few steps.
        seeds: initialisations and orders of rows.

    Returns:
        Lines that say what came out.
    """
    import numpy
    import sklearn
    import torch

    from quickstudy import optim
    from quickstudy.engine.hardware import processor
    from quickstudy.reports import plots
    from quickstudy.storage.checkpoint import write_atomically, write_json
    from quickstudy_studies.learned_optimizer import comparison
    from quickstudy_studies.learned_optimizer import page as comparison_page
    from quickstudy_studies.learned_optimizer.step_time import SIZES, step_times

    optim.shipped()  # An error now, rather than in the middle.
    begun = time.monotonic()
    times = step_times(2, ("small",)) if quick else step_times(sizes=tuple(SIZES))
    problems = comparison.compare(folder, quick, seeds, tick)
    versions = {"Python": platform.python_version(), "torch": str(torch.__version__)}
    versions |= {"NumPy": numpy.__version__, "scikit-learn": sklearn.__version__}
    content = {
        "environment": {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "cpu": processor(),
            "threads": torch.get_num_threads(),
            "versions": versions,
        },
        "seeds": 1 if quick else seeds,
        "minutes": (time.monotonic() - begun) / 60,
        "problems": problems,
        "step_times": times,
    }
    write_json(folder / "results.json", content)
    write_atomically(folder / "table.md", (comparison_page.markdown(content) + "\n").encode())
    write_atomically(folder / "curves.png", plots.file(comparison_page.curves(content), "png"))
    return ["The learned optimiser", *(f"  {line}" for line in comparison_page.summary(content))]
