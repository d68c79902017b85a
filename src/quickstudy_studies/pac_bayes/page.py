"""Lines, table and figure of PAC-Bayes bounds beside the errors that they bound."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from quickstudy.functional.pac_bayes import BOUNDS, Bound
from quickstudy.reports.plots import COLOURS, INK, styled
from quickstudy_studies.pac_bayes.run import COUNTS, DIMENSIONS, FEW, ROWS, WIDE

Runs = Sequence[dict[str, Any]]


def by_count(runs: Runs, name: str) -> dict[int, list[float]]:
    """Return a column of all seeds, by the number of tasks."""
    counts = dict.fromkeys(run["tasks"] for run in runs)
    return {count: [run[name] for run in runs if run["tasks"] == count] for count in counts}


def summary(runs: Runs) -> list[str]:
    """Return lines of text."""
    lines = []
    for name in BOUNDS:
        held = sum(run[name] >= run["error"] for run in runs)
        below = [count for count, values in by_count(runs, name).items() if max(values) < 0.5]
        least = f"below 1/2 in every run from {min(below)} tasks on" if below else "nowhere below 1/2 in every run"
        lines.append(f"{name}: above the error in new tasks in {held} of {len(runs)} runs; {least}")
        held, low = sum(run[f"few {name}"] >= run["new"] for run in runs), min(run[f"few {name}"] for run in runs)
        lines.append(f"{name}, {FEW} rows a task: above the error in {held} of {len(runs)} runs; {low:.2f} or more")
    return lines


def markdown(runs: Runs) -> str:
    """Return means over seeds as Markdown: errors, bounds as the sums that they are, and errors with few rows."""
    heads = ["tasks", "error in the tasks learned from", "in new tasks", *BOUNDS, f"{FEW} rows: learned from", "new"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for count in by_count(runs, "error"):
        mean = {name: f"{fmean(by_count(runs, name)[count]):.3f}" for name in runs[0]}
        sums = [f"{mean[name]} = {' + '.join(mean[f'{name} {part}'] for part in Bound._fields)}" for name in BOUNDS]
        lines.append(
            f"| {' | '.join([str(count), mean['seen tasks'], mean['error'], *sums, mean['seen'], mean['new']])} |"
        )
    return "\n".join(lines)


@styled
def figure(runs: Runs) -> Figure:
    """Return two panels by the number of tasks: error and bounds; errors in tasks that were learned from and in new."""
    drawn = Figure(figsize=(8, 3))
    axes: Any = drawn.subplots(1, 2)
    new, seen = ("error in new tasks", "-o", 2), ("error in the tasks learned from", "--s", 3)
    bounds = {"amit-meir": ("bound of Amit & Meir", "-o", 0), "pacoh": ("bound of Rothfuss et al.", "-o", 1)}
    columns = {**bounds, "error": new, "seen tasks": seen}
    for panel, shown in enumerate((columns, {"new": new, "seen": seen})):
        for name, (label, kind, number) in shown.items():
            values = by_count(runs, name)
            options = {"color": COLOURS[number], "markersize": 4, "label": label}
            axes[panel].plot(list(values), [fmean(each) for each in values.values()], kind, **options)
            low, high = [min(each) for each in values.values()], [max(each) for each in values.values()]
            axes[panel].vlines(list(values), low, high, COLOURS[number])
        axes[panel].axhline(0.5, color=INK, linestyle=":", linewidth=1)
        axes[panel].set_xscale("log")
        axes[panel].set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes[panel].minorticks_off()
        axes[panel].set_xlabel("tasks learned from")
        axes[panel].legend(fontsize=8)
    axes[0].set(title=f"{DIMENSIONS} dimensions, {ROWS} rows a task", ylabel="error", ylim=(0, 1.5))
    axes[1].set(title=f"{WIDE} dimensions, {FEW} rows a task", ylim=(0, 0.6))
    return drawn
