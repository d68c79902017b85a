"""Table and figure of hyper-parameters that were searched for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, MARKERS, styled

SEARCHES = {
    "many": {
        "optuna": "Optuna",
        "shared": "Optuna, one strength for all pixels",
        "unrolled": "hyper-gradients through whole runs",
        "implicit": "implicit hyper-gradients",
        "online": "online hyper-gradients, and a last run",
    },
    "few": {"optuna": "Optuna", "unrolled": "hyper-gradients through whole runs"},
}
TITLES = {
    "many": "64 weight decays, logistic regression",
    "few": "2 rates and 2 weight decays, perceptron",
}
SIDE = 8
Runs = Sequence[dict[str, Any]]


def best(run: dict[str, Any], which: str) -> float:
    """Return the least validation loss that Optuna found for a problem."""
    return float(min(found["validation"] for name, found in run[which].items() if name in ("optuna", "shared")))


def reached(found: dict[str, Any], level: float) -> tuple[float, float]:
    """Return the training runs, and their cost, after which a search was as low as a level; infinite if never."""
    points = [(float(runs), cost) for runs, cost, loss in found["curve"] if loss <= level]
    return points[0] if points else (math.inf, math.inf)


def markdown(runs: Runs) -> str:
    """Return a table for each problem."""
    return "\n\n".join(f"{title}\n\n{_table(runs, which)}" for which, title in TITLES.items())


def _table(runs: Runs, which: str) -> str:
    lines = [
        "| search | training runs | cost in runs | validation loss | test loss | Optuna's best after | at a cost of |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in SEARCHES[which].items():
        found = [run[which][name] for run in runs]
        valid, test = (statistics.fmean(each[part] for each in found) for part in ("validation", "test"))
        after = ["", ""] if name in ("optuna", "shared") else _reached(runs, which, name)
        count, cost, _ = found[0]["curve"][-1]
        lines.append(f"| {title} | {count} | {cost:.1f} | {valid:.3f} | {test:.3f} | {after[0]} | {after[1]} |")
    return "\n".join(lines)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    lines = []
    for which, title in TITLES.items():
        after, cost = _reached(runs, which, "unrolled")
        trials = runs[0][which]["optuna"]["curve"][-1][0]
        lines.append(f"{title}: hyper-gradients reach the best of Optuna's {trials} training runs")
        lines.append(f"  after training runs: {after}; derivatives counted: {cost}")
    return lines


def _reached(runs: Runs, which: str, name: str) -> list[str]:
    """Return after how many training runs, and at which cost, a search reaches Optuna's best."""
    levels = [reached(run[which][name], best(run, which)) for run in runs]
    return [_counts(values) for values in zip(*levels, strict=True)]


@styled
def figure(runs: Runs) -> Figure:
    """Draw the least validation loss so far against training runs, and the weight decays of pixels."""
    drawn = Figure(figsize=(9, 3.3))
    left, middle, right = drawn.subplots(1, 3, width_ratios=(1.2, 1.2, 0.8))
    for axes, which in ((left, "many"), (middle, "few")):
        for name, title in SEARCHES[which].items():
            number = list(SEARCHES["many"]).index(name)
            curves = [run[which][name]["curve"] for run in runs]
            lows = [list(accumulate((point[2] for point in curve), min)) for curve in curves]
            means = [statistics.fmean(values) for values in zip(*lows, strict=True)]
            marker = MARKERS[number] if len(means) < 20 else ""
            counts = [point[0] for point in curves[0]]
            axes.plot(counts, means, color=COLOURS[number], marker=marker, markersize=4, label=title)
        axes.set(xscale="log", xlabel="training runs")
        axes.set_title(TITLES[which], fontsize=8)
    left.set(ylabel="least validation loss so far")
    # The start is far above.
    middle.set(ylim=(None, 2 * max(best(run, "few") for run in runs)))
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=8)
    decays = np.log10([run["many"]["unrolled"]["found"]["log_weight_decay"] for run in runs]).mean(0)
    # A mesh, as in `plots.matrix`.
    shades = right.pcolormesh(decays.reshape(SIDE, SIDE), cmap="Blues")
    right.invert_yaxis()
    right.set(xticks=[], yticks=[], aspect="equal")
    right.set_title("log10 of the pixels' decays", fontsize=8)
    right.grid(visible=False)
    drawn.colorbar(shades, ax=right, shrink=0.7)
    return drawn


def _counts(values: Sequence[float]) -> str:
    """Return how many in the mean and at most, where all came so far."""
    if not all(map(math.isfinite, values)):
        return f"never, in {sum(not math.isfinite(value) for value in values)} of {len(values)} repetitions"
    return f"{statistics.fmean(values):.1f} (at most {max(values):.0f})"
