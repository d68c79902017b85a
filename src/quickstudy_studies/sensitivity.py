"""How much the inner learning rate and the number of inner steps matter to the MAML family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.recipes.base import Recipe
from quickstudy.reports.assessment import OpenedRun
from quickstudy.reports.plots import COLOURS, MARKERS, styled
from quickstudy_studies.driver import Plan, Study, of_grid
from quickstudy_studies.shared.grid import Grid, Values, bars, figures, logarithmic, metrics, recipe

METHODS = {
    "maml": ("MAML", 0.01),
    "fomaml": ("FOMAML", 0.01),
    "anil": ("ANIL", 0.01),
    "metasgd": ("Meta-SGD", 0.01),
    "cavia": ("CAVIA", 1.0),
}
"""Labels, and the rate of the recipe, in the middle of the range."""
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
OPTIONS: dict[str, Any] = {"steps": 3000, "inner_steps": 1}
MARKS = (1, 3, 10, 30, 100)
"""Inner steps in the test."""
LOST = "diverged in training"
DIVERGED = 100.0
"""Inner steps that end with a larger error have diverged: to answer 0 has at most 12.5."""


def rates(name: str) -> list[float]:
    """Return the inner rates of a method: two decades."""
    return [round(METHODS[name][1] * factor, 4) for factor in FACTORS]


def _recipes(quick: bool) -> dict[str, Recipe]:
    options = {**OPTIONS, **({"steps": 2, "validation_tasks": 5} if quick else {})}
    return {
        f"{name}-{rate}": recipe(f"sinusoid-{name}", **options, inner_lr=rate)
        for name in METHODS
        for rate in rates(name)[: 2 if quick else None]
    }


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Error of MAML and its kin by the inner learning rate, trained and tested, and by inner steps in the test.

    Args:
        folder: gets results.json, table.md, sensitivity.png and the trained runs.
        quick: two rates, two steps.
        seeds: repetitions.
    """
    asked = {"tasks": 5, "marks": list(MARKS[:2])} if quick else {"tasks": 1000, "marks": list(MARKS)}
    recipes = _recipes(quick)

    def results(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        lost = [name for name in recipes if name not in found]
        return {**judged(found), **({LOST: lost} if lost else {})}

    return of_grid(Grid(recipes, folder, look, seeds, asked), quick, results)


def look(run: OpenedRun, tasks: int, marks: list[int]) -> dict[str, Values]:
    """Return the error in each task after each number of inner steps."""
    found = {}
    for steps in marks:
        run.learner.test_steps = steps  # type: ignore[assignment]
        found[str(steps)] = metrics(run.learner, run.test, tasks).tolist()
    return found


def judged(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what `grid` found as JSON, and in what share of the tasks inner steps diverged."""
    results = figures(found)
    for name, each in results.items():
        for steps in _marks(results):
            each[str(steps)]["diverged"] = float((found[name][str(steps)] > DIVERGED).mean())
    return results


def _known(found: dict[str, Any], name: str) -> list[tuple[float, dict[str, Any]]]:
    """Return the rates with which training did not diverge, and what was found with them."""
    return [(rate, found[f"{name}-{rate}"]) for rate in rates(name) if f"{name}-{rate}" in found]


def chosen(found: dict[str, Any], name: str) -> tuple[float, dict[str, Any]] | None:
    """Return the rate of the least error on validation tasks, which are others than those of the test, and what was
    found with it; None if training diverged with all of them."""
    return min(_known(found, name), key=lambda point: point[1]["validation"], default=None)


def _marks(found: dict[str, Any]) -> list[int]:
    return [mark for mark in MARKS if any(str(mark) in each for each in found.values())]


def _shown(part: dict[str, float]) -> str:
    if part["diverged"]:
        return f"diverges in {100 * part['diverged']:.1f} %"
    return f"{part['mean']:.2f} ± {part['interval']:.2f}"


def markdown(found: dict[str, Any]) -> str:
    """Return errors; the rate that validation tasks choose is in bold."""
    marks = _marks(found)
    heads = [f"{mark} step{'s' if mark > 1 else ''}" for mark in marks]
    lines = [f"| method | inner rate | validation | {' | '.join(heads)} |", "|---|" + "---|" * (len(marks) + 2)]
    for name, (label, _) in METHODS.items():
        best = chosen(found, name)
        known = dict(_known(found, name))
        for rate, each in known.items():
            cells = [f"{each['validation']:.2f}", *(_shown(each[str(mark)]) for mark in marks)]
            shown = f"**{rate:g}**" if best and rate == best[0] else f"{rate:g}"
            lines.append(f"| {label} | {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(found: dict[str, Any]) -> str:
    """Return errors, and what diverged in training."""
    lost = found.get(LOST, [])
    return "\n".join([markdown(found), *(["", f"Diverged in training: {', '.join(lost)}."] if lost else [])])


def summary(found: dict[str, Any]) -> list[str]:
    """Return the table, and what its figures are."""
    return ["5-shot sinusoids, mean squared error by inner steps in the test", *table(found).splitlines()]


@styled
def figure(found: dict[str, Any]) -> Figure:
    """Draw the error by inner rate, and by inner steps at the rate chosen for each method."""
    drawn = Figure(figsize=(9, 3.8))
    left: Any = drawn.add_subplot(1, 2, 1)
    right: Any = drawn.add_subplot(1, 2, 2, sharey=left)
    marks = _marks(found)
    for j, (name, (label, middle)) in enumerate(METHODS.items()):
        the_best = chosen(found, name)
        if the_best is None:
            continue
        rate, best = the_best
        style: dict[str, Any] = {"color": COLOURS[j], "marker": MARKERS[j], "factor": 1}
        points = {own / middle: each[str(marks[0])] for own, each in _known(found, name)}
        bars(left, list(points), list(points.values()), label=f"{label} (1 is {middle:g})", **style)
        shown = {mark: best[str(mark)] for mark in marks if not best[str(mark)]["diverged"]}
        bars(right, list(shown), list(shown.values()), label=f"{label}, rate {rate:g}", **style)
    logarithmic(left, FACTORS)
    left.set_ylim(0, 3)
    left.set_ylabel("mean squared error")
    left.set_xlabel("inner rate in training and test, as a multiple of the recipe's")
    left.set_title("after one inner step, as in training", loc="left")
    logarithmic(right, marks)
    right.set_xlabel("inner steps in the test (one in training)")
    right.set_title("at the rate that validation tasks chose", loc="left")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return drawn


sensitivity = Study("sensitivity", plan, table, summary, {"sensitivity": figure}, seeds=1)
