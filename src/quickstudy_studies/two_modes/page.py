"""Table and figure of the regression of sinusoids and lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, INK, styled

METHODS = {
    "maml": ("MAML", "1.09"),
    "multi": ("a MAML for each mode, the mode told", "0.43"),
    "mmaml": ("MMAML", "0.34"),
    "best": ("posterior mean: nothing is better", ""),
}
"""What methods are called, and the published error."""
PANELS = {"sine": "a sinusoid", "linear": "a line"}
Runs = Sequence[Mapping[str, Any]]


def markdown(runs: Runs) -> str:
    """Return the table of squared errors: means over seeds, with the 95 % interval of a seed's tasks.

    With twice as many points learners are those that were trained on fewer.
    """
    lines = ["| method | published | 5 points | sinusoids | lines | 10 points |", "|---|---|---|---|---|---|"]
    for method, (name, published) in METHODS.items():
        cells = [_cell(runs, method, part) for part in ("mse", "sine", "linear", "twice")]
        lines.append(f"| {name} | {published} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    lines = [f"{name}: squared error {_cell(runs, method, 'mse')}" for method, (name, _) in METHODS.items()]
    curves = {
        METHODS[method][0]: [statistics.fmean(values) for values in zip(*_all(runs, method, "curve"), strict=True)]
        for method in ("maml", "mmaml")
    }
    text = "; ".join(f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values in curves.items())
    return [*lines, f"After 0, 1, ... steps: {text}"]


@styled
def figure(runs: Runs) -> Figure:
    """Draw what MAML and MMAML of the first run say of a sinusoid and a line, before and after each inner step."""
    drawn = Figure(figsize=(9, 5))
    grid = drawn.subplots(2, 2, sharex=True, sharey="row")
    for row, (mode, title) in enumerate(PANELS.items()):
        fan = runs[0]["fans"][mode]
        at, labels, x, y = fan["points"]
        for column, method in enumerate(("maml", "mmaml")):
            panel, curves = grid[row][column], fan["steps"][method]
            panel.plot(x, y, color=GREY, linewidth=4, alpha=0.45, label="truth")
            panel.plot(x, curves[0], color=COLOURS[1], linestyle="--", label="before the first step")
            for step, values in enumerate(curves[1:], 1):
                last = step == len(curves) - 1
                share = 0.15 + 0.35 * step / len(curves)
                label = f"after {step} steps" if last else None
                panel.plot(x, values, color=COLOURS[0], alpha=1 if last else share, label=label)
            panel.plot(at, labels, "o", color=INK, markersize=4, label="support")
            panel.set_ylim(min(y) - 0.5 * (max(y) - min(y)), max(y) + 0.5 * (max(y) - min(y)))
            panel.set_title(f"{METHODS[method][0]}: {title}", loc="left")
    handles, labels = panel.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return drawn


def _all(runs: Runs, method: str, part: str) -> list[Any]:
    return [run["methods"][method][part] for run in runs]


def _cell(runs: Runs, method: str, part: str) -> str:
    found = _all(runs, method, part)
    return f"{statistics.fmean(mean for mean, _ in found):.3f} ± {statistics.fmean(half for _, half in found):.3f}"
