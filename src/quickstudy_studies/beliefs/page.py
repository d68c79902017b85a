"""Tables and figures of Bayesian learners' reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, INK, styled, uncertainty
from quickstudy_studies.beliefs.run import EXACT, PLAIN, POINTS

Found = Mapping[str, dict[str, Any]]
HEADS = {"sinusoids": ("intervals", "their width"), "half-planes": ("sets", "classes in them")}
ERRORS = {"sinusoids": "mean squared error", "half-planes": "error rate"}


def markdown(found: Found) -> str:
    """Return a table for each kind of tasks."""
    parts = []
    for data, (what, size) in HEADS.items():
        learners = found[data]["learners"]
        lines = [
            f"{data}, {found[data]['tasks']} tasks",
            "",
            f"| learner | 90 % {what} hold | {size} | log-likelihood | minus {PLAIN}'s | {ERRORS[data]} | surer half |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, each in learners.items():
            held, half = (100 * value for value in each["coverage"])
            likelihood, gap = (f"{each[key][0]:{sign}.3f} ± {each[key][1]:.3f}" for key, sign in _SIGNS.items())
            risk = each["risk"]
            lines.append(
                f"| {name} | {held:.1f} ± {half:.1f} % | {each['size']:.2f} | {likelihood} | "
                f"{'' if name == PLAIN else gap} | {risk[-1]:.3f} | {risk[len(risk) // 2 - 1]:.3f} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


_SIGNS = {"log_likelihood": "", "more_than_plain": "+"}


def summary(found: Found) -> list[str]:
    """Return who meets what: coverage of 85 to 95 %, and a log-likelihood above MAML's by more than its interval."""
    lines = []
    for data in HEADS:
        learners = {name: each for name, each in found[data]["learners"].items() if name not in (PLAIN, EXACT)}
        covered = [name for name, each in learners.items() if 0.85 <= each["coverage"][0] <= 0.95]
        better = [name for name, each in learners.items() if each["more_than_plain"][0] > each["more_than_plain"][1]]
        lines.append(f"{data}: 90 % hold 85 to 95 % of answers for {_listed(covered, learners)}")
        lines.append(f"{data}: log-likelihood above {PLAIN}'s for {_listed(better, learners)}")
    return lines


def _listed(names: list[str], every: Mapping[str, Any]) -> str:
    return f"all {len(every)}" if len(names) == len(every) else ", ".join(names) or "none"


def curves(found: Found) -> Figure:
    """Draw what intervals and sets of each level hold, and the error on the share of queries that is answered."""
    kinds = {data: (what, ERRORS[data], found[data]["learners"]) for data, (what, _) in HEADS.items()}
    return uncertainty(kinds, EXACT)


@styled
def answers(found: Found) -> Figure:
    """Draw each learner's 90 % intervals for one sinusoid, and its probabilities for one task of half planes."""
    drawn = Figure(figsize=(8, 4.4))
    x = np.linspace(-5, 5, POINTS)
    shown = found["sinusoids"]["shown"]
    sx, sy = np.array(shown["support"][0])[:, 0], shown["support"][1]
    for i, (name, each) in enumerate(shown["answers"].items()):
        axes: Any = drawn.add_subplot(2, 4, i + 1)
        colour = _style(i, name)["color"]
        axes.fill_between(x, each["low"], each["high"], color=colour, alpha=0.25, linewidth=0)
        axes.plot(x, each["mean"], color=colour)
        axes.plot(sx, sy, "o", color=INK, markersize=4)
        axes.set_title(name, loc="left")
        axes.set(ylim=(-6, 6))
    axes = drawn.add_subplot(2, 4, 8)
    shown = found["half-planes"]["shown"]
    for i, (name, each) in enumerate(shown["answers"].items()):
        axes.plot(np.linspace(-180, 180, POINTS), each["probability"], **_style(i, name))
    for (a, b), label in zip(*shown["support"], strict=True):
        axes.plot(np.degrees(np.arctan2(b, a)), label, "o", color=INK, markersize=5)
    axes.set_title("half planes", loc="left")
    axes.set(xlabel="direction of the query", ylabel="probability of class 1", xticks=(-180, 0, 180))
    return drawn


def _style(i: int, name: str) -> dict[str, Any]:
    if name == EXACT:
        return {"color": INK, "linestyle": "--", "linewidth": 1.6, "label": name}
    return {"color": COLOURS[i - 1], "linewidth": 1.3, "label": name}
