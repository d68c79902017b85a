"""Table and figure of learning tables that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, MARKERS, styled

NAMES = {
    "meta": "AttributeSets, meta-trained on the others",
    "logistic": "logistic regression",
    "mean": "nearest class mean",
    "neighbour": "nearest neighbour",
}
SHOTS = (1, 5)

Found = Sequence[Mapping[str, Any]]


def summary(found: Found) -> list[str]:
    """Return what came out in a few lines."""
    lines = []
    for shots in SHOTS:
        gains = [each["gain"]["logistic"] for each in found if each["shots"] == shots]
        above, below = sum(mean > half for mean, half in gains), sum(mean < -half for mean, half in gains)
        lines.append(
            f"{shots}-shot: of {len(gains)} tables held out, above logistic regression on {above}, below on {below}; "
            f"mean gain {100 * float(np.mean([mean for mean, _ in gains])):+.1f} points"
        )
    return lines


def markdown(found: Found) -> str:
    """Return the table of accuracies, in percent, and of the gain over logistic regression."""
    lines = [f"| table held out | shots | {' | '.join(NAMES.values())} | gain over logistic regression |"]
    lines.append("|---" * (len(NAMES) + 3) + "|")
    for each in found:
        cells = [f"{100 * mean:.1f} ± {100 * half:.1f}" for mean, half in (each["accuracy"][name] for name in NAMES)]
        mean, half = each["gain"]["logistic"]
        gain = f"{100 * mean:+.1f} ± {100 * half:.1f}"
        lines.append(f"| {each['table']} | {each['shots']} | {' | '.join(cells)} | {gain} |")
    return "\n".join(lines)


@styled
def figure(found: Found) -> Figure:
    """Draw the accuracies on each table, with 95 % intervals."""
    drawn = Figure(figsize=(9, 3.4))
    for panel, shots in zip(drawn.subplots(1, len(SHOTS), sharey=True), SHOTS, strict=True):
        rows = [each for each in found if each["shots"] == shots]
        for i, (name, label) in enumerate(NAMES.items()):
            means, halves = np.array([each["accuracy"][name] for each in rows]).T
            places = np.arange(len(rows)) + 0.2 * (i - 1.5)
            style = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none"}
            panel.errorbar(places, means, yerr=halves, capsize=2, label=label, **style)
        panel.set_xticks(range(len(rows)), [each["table"] for each in rows])
        panel.set(title=f"{shots} row{'s' if shots > 1 else ''} a class")
    panel.figure.axes[0].set_ylabel("accuracy")
    handles, labels = panel.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
    return drawn
