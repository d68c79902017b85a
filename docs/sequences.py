"""Draw accuracy by presentation of every row of sequences that was measured: `python docs/sequences.py`.

Reads docs/results/rows and writes docs/images/sequences.png.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, MARKERS, styled
from quickstudy.storage.checkpoint import write_atomically
from quickstudy_studies.results.results_tables import curves
from quickstudy_studies.shared.saving import picture

ROOT = Path(__file__).parent


@styled
def figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a line for each learner, and the published figures as crosses."""
    drawn = Figure(figsize=(6.4, 3.6))
    axes: Any = drawn.add_subplot()
    for i, (name, row) in enumerate(curves(rows).items()):
        accuracy = [100 * value for value in row["presentations"]]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.plot(range(1, len(accuracy) + 1), accuracy, color=colour, marker=marker, markersize=4, label=name)
    known = {int(row["row"].rpartition("-")[2]): row["published"] for row in rows if row["published"] is not None}
    if known:
        percent = [100 * value for value in known.values()]
        axes.plot(list(known), percent, "x", color=GREY, markersize=8, markeredgewidth=2, label="MANN, published")
    axes.set_xticks(range(1, 11))
    axes.set(ylim=(0, 102), xlabel="presentation of a class", ylabel="% right")
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.55), ncols=2, fontsize=8)
    return drawn


def main() -> None:
    """Write the picture."""
    found = [json.loads(path.read_text()) for path in sorted((ROOT / "results" / "rows").glob("*-presentation-*.json"))]
    write_atomically(ROOT / "images" / "sequences.png", picture(figure(found)))


if __name__ == "__main__":
    main()
