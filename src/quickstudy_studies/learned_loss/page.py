"""Table and figure of a learned loss."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy_studies.learned_loss.run import ERRORS, FAMILIES, TARGETS

TITLES = {
    "squared": "squared error",
    "absolute": "absolute error",
    "Huber": "Huber's loss",
    "learned": "learned loss (ML3)",
}
KINDS = {family: f"{100 * share:.0f} % wrong targets" for family, share in FAMILIES.items()}
TICKS = (0.2, 0.5, 1, 2, 5)
Runs = Sequence[dict[str, Any]]


def error(runs: Runs, family: str, name: str) -> list[float]:
    """Return the mean over repetitions of the error after 0, 1, ... inner steps."""
    curves = [run["curves"][name] for run in runs if run["family"] == family]
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def shown(runs: Runs, steps: int) -> list[int]:
    """Return the inner steps that are put into the table."""
    last = len(runs[0]["curves"]["learned"]) - 1
    return sorted({min(step, last) for step in (steps // 4, steps, last)})


def markdown(runs: Runs, steps: int) -> str:
    """Return a table for each family; `steps` is how long the inner loop was in training."""
    parts = []
    for family, title in KINDS.items():
        marks = shown(runs, steps)
        lines = [title, "", "| loss | " + " | ".join(f"after {mark} steps" for mark in marks) + " |"]
        lines.append("|---" * (len(marks) + 1) + "|")
        for name, words in TITLES.items():
            values = error(runs, family, name)
            lines.append(f"| {words} | " + " | ".join(f"{values[mark]:.2f}" for mark in marks) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def summary(runs: Runs, steps: int) -> list[str]:
    """Return what came out in a few lines."""
    lines = []
    for family, title in KINDS.items():
        for mark in shown(runs, steps):
            found = ", ".join(f"{words} {error(runs, family, name)[mark]:.2f}" for name, words in TITLES.items())
            lines.append(f"{title}, after {mark} inner steps: {found}")
    return lines


@styled
def figure(runs: Runs, steps: int) -> Figure:
    """Draw learning curves in new tasks, and the learned losses."""
    drawn = Figure(figsize=(9, 3.3))
    *sides, right = drawn.subplots(1, 3)
    for axes, (family, title) in zip(sides, KINDS.items(), strict=True):
        for number, (name, words) in enumerate(TITLES.items()):
            values = error(runs, family, name)
            wide = 2 if name == "learned" else 1.2
            axes.plot(range(len(values)), values, color=COLOURS[number], linewidth=wide, label=words)
        axes.axvline(steps, color=GREY, linestyle=":", linewidth=1)
        axes.set(xlabel="inner steps", yscale="log")
        axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS], minor=False)
        axes.minorticks_off()
        axes.set_title(title, fontsize=8)
    sides[0].set(ylabel="squared error on right targets")
    drawn.legend(*sides[0].get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=8)
    for run in runs:
        values, number = run["loss"][TARGETS.index(0.0)], list(KINDS).index(run["family"])
        low, high = min(values), max(values)
        label = KINDS[run["family"]] if run["seed"] == runs[0]["seed"] else None
        scaled = [(value - low) / (high - low) for value in values]
        right.plot(ERRORS, scaled, color=COLOURS[4 + number], linewidth=1.2, label=label)
    right.legend(fontsize=7)
    right.set(xlabel="output - target, of target 0", yticks=[])
    right.set_title("the learned losses, scaled", fontsize=8)
    return drawn
