"""Lines, table and figure of hidden parameters that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, INK, styled
from quickstudy_studies.shared.simulated import CASES

Runs = Sequence[dict[str, Any]]


def shown(case: str, path: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return what can be learned from the motion: parameters, or of a pendulum that nothing drives their ratio too."""
    if CASES[case].drive > 0:
        return path
    return {**path, "friction / mass": [b / m for b, m in zip(path["friction"], path["mass"], strict=True)]}


def ends(runs: Runs) -> dict[tuple[str, str], dict[str, float]]:
    """Return the largest relative error over seeds of each parameter in the end, by case and outer optimiser."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for run in runs:
        errors = found.setdefault((run["case"], run["outer"]), {})
        for name, values in shown(run["case"], run["path"]).items():
            errors[name] = max(errors.get(name, 0.0), abs(values[-1] - 1))
    return found


def summary(runs: Runs) -> list[str]:
    """Return a line for each case and outer optimiser."""
    return [
        f"{case}, {way}: largest error " + ", ".join(f"{name} {100 * error:.1f} %" for name, error in errors.items())
        for (case, way), errors in ends(runs).items()
    ]


def markdown(runs: Runs) -> str:
    """Return the same as Markdown."""
    lines = ["| system | outer optimiser | largest error of the parameters found |", "|---|---|---|"]
    for (case, way), errors in ends(runs).items():
        text = ", ".join(f"{name} {100 * error:.1f} %" for name, error in errors.items())
        lines.append(f"| {case} | {way} | {text} |")
    return "\n".join(lines)


@styled
def figure(runs: Runs) -> Figure:
    """Return a panel for each case and outer optimiser: parameters over outer steps, as shares of the hidden ones."""
    cases, ways = list(dict.fromkeys(r["case"] for r in runs)), list(dict.fromkeys(r["outer"] for r in runs))
    drawn = Figure(figsize=(2.35 * len(ways), 1.5 * len(cases)))
    panels: Any = drawn.subplots(len(cases), len(ways), squeeze=False, sharey=True)
    for i, case in enumerate(cases):
        for j, way in enumerate(ways):
            axes = panels[i, j]
            for run in (r for r in runs if (r["case"], r["outer"]) == (case, way)):
                for k, (name, values) in enumerate(shown(case, run["path"]).items()):
                    label = name if run["seed"] == 0 else None
                    axes.plot(values, color=COLOURS[k], linewidth=1, label=label)
            axes.axhspan(0.9, 1.1, color=INK, alpha=0.08, linewidth=0)
            axes.set(yscale="log", ylim=(0.12, 6))
            axes.set_title(f"{case}: {way}", fontsize=6)
            axes.tick_params(labelsize=7)
            axes.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
            axes.minorticks_off()
            axes.grid(axis="x", visible=False)
            if j == 0:
                axes.set_ylabel("found / hidden", fontsize=8)
                axes.legend(fontsize=6, loc="lower right", ncols=2)
            if i == len(cases) - 1:
                axes.set_xlabel("outer step", fontsize=8)
    return drawn
