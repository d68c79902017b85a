"""How much the inner learning rate and the number of inner steps matter to the MAML family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.assessment import OpenedRun
from quickstudy.console import Tick
from quickstudy.plots import COLOURS, MARKERS, styled
from quickstudy.recipes.base import Recipe
from quickstudy.registry import register
from quickstudy.reproductions.grid import QUICK, Values, accuracies, bars, figures, grid, logarithmic, percent, recipe
from quickstudy.tasks.base import TaskDistribution

METHODS = {
    "maml": ("MAML", 0.4),
    "anil": ("ANIL", 0.4),
    "metasgd": ("Meta-SGD", 0.4),
    "fomaml": ("FOMAML", 0.4),
    "cavia": ("CAVIA", 10.0),
}
"""Labels, and the rate in the middle of the range."""
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
OPTIONS: dict[str, Any] = {
    "steps": 300,
    "validate_every": 100,
    "queries": 5,
    "inner_steps": 1,
    "test_steps": 1,
}
MARKS = (1, 3, 10, 30, 100)
"""Inner steps in the test."""


def rates(name: str) -> list[float]:
    """Return the inner rates of a method: two decades."""
    return [round(METHODS[name][1] * factor, 4) for factor in FACTORS]


def _recipes(quick: bool) -> dict[str, Recipe]:
    options = {**OPTIONS, **(QUICK if quick else {})}
    return {
        f"{name}-{rate}": recipe(f"omniglot-{name}", **options, inner_lr=rate)
        for name in METHODS
        for rate in rates(name)[: 2 if quick else None]
    }


@register("reproduction", "sensitivity")
def sensitivity(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Accuracy of MAML and its kin by the inner learning rate, trained and tested, and by inner steps in the test.

    Args:
        folder: gets results.json, table.md, sensitivity.png and the trained runs.
        tick: told how many runs of how many are done.
        quick: two rates, two steps.
        seeds: repetitions.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.reproductions.saving import save

    asked = (
        {"tasks": 5, "few": 5, "marks": list(MARKS[:2])} if quick else {"tasks": 600, "few": 60, "marks": list(MARKS)}
    )
    found = figures(grid(_recipes(quick), folder, tick, look, seeds, here=quick, **asked))
    save(folder, found, markdown(found), sensitivity=figure(found))
    return ["5-way 1-shot accuracy by inner rate and by inner steps in the test, %", *markdown(found).splitlines()]


def look(run: OpenedRun, tasks: int, few: int, marks: list[int]) -> dict[str, Values]:
    """Return the accuracy on each task after the inner steps of training, and on fewer tasks after more of them."""
    test: TaskDistribution = run.test
    found = {}
    for steps in marks:
        run.learner.test_steps = steps  # type: ignore[assignment]
        found[str(steps)] = accuracies(run.learner, test, tasks if steps == marks[0] else few).tolist()
    return found


def _known(found: dict[str, Any], name: str) -> list[tuple[float, dict[str, Any]]]:
    return [(rate, found[f"{name}-{rate}"]) for rate in rates(name) if f"{name}-{rate}" in found]


def chosen(found: dict[str, Any], name: str) -> tuple[float, dict[str, Any]]:
    """Return the rate of the best accuracy on validation tasks, which are of other classes than the test, and what was
    found with it."""
    return max(_known(found, name), key=lambda point: point[1]["validation"])


def _marks(found: dict[str, Any]) -> list[int]:
    return [mark for mark in MARKS if str(mark) in next(iter(found.values()))]


def markdown(found: dict[str, Any]) -> str:
    """Return accuracies in per cent; the rate that validation tasks choose is in bold."""
    marks = _marks(found)
    lines = ["| method | inner rate | validation | " + " | ".join(f"{mark} steps" for mark in marks) + " |"]
    lines[0] = lines[0].replace("| 1 steps", "| 1 step")
    lines.append("|---|" + "---|" * (len(marks) + 2))
    for name, (label, _) in METHODS.items():
        best, _ = chosen(found, name)
        for rate, each in _known(found, name):
            shown = f"**{rate:g}**" if rate == best else f"{rate:g}"
            cells = " | ".join(percent(each[str(mark)]) for mark in marks)
            lines.append(f"| {label} | {shown} | {100 * each['validation']:.1f} | {cells} |")
    return "\n".join(lines)


@styled
def figure(found: dict[str, Any]) -> Figure:
    """Draw accuracy by inner rate, and by inner steps at the rate chosen for each method."""
    drawn = Figure(figsize=(9, 3.6))
    left: Any = drawn.add_subplot(1, 2, 1)
    right: Any = drawn.add_subplot(1, 2, 2, sharey=left)
    marks = _marks(found)
    for j, (name, (label, _)) in enumerate(METHODS.items()):
        known = _known(found, name)
        rate, best = chosen(found, name)
        style: dict[str, Any] = {"color": COLOURS[j], "marker": MARKERS[j]}
        bars(left, [each for each, _ in known], [each[str(marks[0])] for _, each in known], label=label, **style)
        bars(right, marks, [best[str(mark)] for mark in marks], label=f"{label}, rate {rate:g}", **style)
    logarithmic(left, sorted({rate for name in METHODS for rate in rates(name)}))
    left.set_xlabel("inner learning rate, in training and test")
    left.set_ylabel("accuracy, %")
    left.set_title("after one inner step, as in training", loc="left")
    logarithmic(right, marks)
    right.set_xlabel("inner steps in the test (one in training)")
    right.set_title("at the rate that validation tasks chose", loc="left")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return drawn
