"""Lines, table and figure of a controller that was trained in a simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, INK, styled

Runs = Sequence[dict[str, Any]]


def excess(run: dict[str, Any], step: int) -> float:
    """Return by what percentage the real cost is above that of the regulator which knows the real parameters."""
    return float(100 * (run["costs"][step] / run["best"] - 1))


def ranges(runs: Runs) -> dict[str, dict[str, str]]:
    """Return the least and the most of all seeds, by outer optimiser and what it is of."""
    found = {}
    for way in dict.fromkeys(run["outer"] for run in runs):
        own = [run for run in runs if run["outer"] == way]
        begun, ended = ([excess(run, step) for run in own] for step in (0, -1))
        columns = {"cost at first": f"{min(begun):+.1f} to {max(begun):+.1f} %"}
        columns["cost in the end"] = f"{min(ended):+.2f} to {max(ended):+.2f} %"
        for name in own[0]["path"]:
            ends = [run["path"][name][-1] for run in own]
            columns[name] = f"{min(ends):.2f} to {max(ends):.2f}"
        found[way] = columns
    return found


def summary(runs: Runs) -> list[str]:
    """Return a line for each outer optimiser."""
    return [f"{way}: " + ", ".join(f"{k} {v}" for k, v in columns.items()) for way, columns in ranges(runs).items()]


def markdown(runs: Runs) -> str:
    """Return the same as a table."""
    found = ranges(runs)
    heads = list(next(iter(found.values())))
    lines = [f"| outer optimiser | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    return "\n".join([*lines, *(f"| {way} | {' | '.join(columns.values())} |" for way, columns in found.items())])


@styled
def figure(runs: Runs) -> Figure:
    """Return two panels over outer steps: what the controller costs, and parameters as shares of the hidden ones."""
    drawn = Figure(figsize=(8, 2.8))
    left, right = drawn.subplots(1, 2)
    dashes = dict(zip(dict.fromkeys(run["outer"] for run in runs), ("-", "--"), strict=True))
    for run in runs:
        kind, first = dashes[run["outer"]], run["seed"] == 0
        above = [excess(run, step) for step in range(len(run["costs"]))]
        left.plot(above, kind, color=COLOURS[list(dashes).index(run["outer"])], label=run["outer"] if first else None)
        for k, (name, values) in enumerate(run["path"].items()):
            right.plot(values, kind, color=COLOURS[k + 2], label=name if first and kind == "-" else None)
    left.axhline(0, color=INK, linestyle=":", linewidth=1)
    left.set(xlabel="outer step", ylabel="real cost, % above", title="controller")
    right.axhspan(0.9, 1.1, color=INK, alpha=0.08, linewidth=0)
    right.set(xlabel="outer step", ylabel="found / hidden", yscale="log", ylim=(0.35, 8), title="simulator")
    right.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    right.minorticks_off()
    left.legend(fontsize=8)
    right.legend(fontsize=8, loc="upper right", ncols=2)
    return drawn
