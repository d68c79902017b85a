"""Meta-overfitting: accuracy on new classes against the number of classes to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import interval95
from quickstudy.learners import NearestNeighbour
from quickstudy.recipes.base import Recipe
from quickstudy.reports.assessment import OpenedRun
from quickstudy.reports.plots import COLOURS, GREY, MARKERS, styled
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy_studies.driver import Plan, Study, of_grid
from quickstudy_studies.shared.grid import QUICK, Grid, Values, bars, figures, logarithmic, metrics, percent, recipe

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "protonet": ("ProtoNet (metric)", {"steps": 400, "optimizer": "adam", "lr": 1e-3, "warp": 0.0}),
    "maml": ("MAML (optimisation)", {"steps": 1500}),
    "metanet": ("MetaNet (model)", {"steps": 800, "optimizer": "adam", "lr": 1e-3}),
}
"""Labels, and options: outer steps for about a minute on a free core, and Adam without warps, as when the page was
measured."""
COUNTS = (10, 30, 100, 300, 713)
"""Of classes, before rotations; 713 is all but those on which weights are chosen."""
KINDS = {"turned": "with rotations", "upright": "without"}
TESTS = {"new": "new classes", "turned": "new classes and their rotations", "seen": "training classes"}


def _recipes(quick: bool) -> dict[str, Recipe]:
    found = {}
    for name, (_, options) in METHODS.items():
        for count in COUNTS[:2] if quick else COUNTS:
            for kind in KINDS:
                own: dict[str, Any] = {**options, "train_classes": count, "rotations": kind == "turned"}
                own |= {"queries": 5, "validate_every": options["steps"] // 5}
                if name == "protonet":
                    own["train_ways"] = min(60, count * (4 if kind == "turned" else 1))
                own |= QUICK if quick else {}
                found[f"{name}-{count}-{kind}"] = recipe(f"omniglot-{name}", **own)
    return found


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Meta-overfitting: accuracy on new classes by the number of training classes, a method of each family.

    Args:
        folder: gets results.json, table.md, classes.png and the trained runs.
        quick: two numbers of classes, two steps.
        seeds: repetitions.
    """
    tasks, recipes = 5 if quick else 600, _recipes(quick)

    def results(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        test = next(iter(recipes.values())).plan().test
        nearest = metrics(NearestNeighbour(), _upright(test), tasks)  # type: ignore[arg-type]
        return {"runs": figures(found), "nearest": {"mean": float(nearest.mean()), "interval": interval95(nearest)}}

    return of_grid(Grid(recipes, folder, look, seeds, {"tasks": tasks}), quick, results)


def look(run: OpenedRun, tasks: int) -> dict[str, Values]:
    """Return the accuracy on each of so many tasks of new classes, of them and their rotations, of training classes."""
    test: Any = run.test
    parts = {"new": _upright(test), "turned": test, "seen": _upright(test, run.plan.train.data)}  # type: ignore[attr-defined]
    return {what: metrics(run.learner, part, tasks).tolist() for what, part in parts.items()}


def _upright(test: FewShot, data: ClassData | None = None) -> FewShot:
    """Return tasks like those of the test, of the classes that are not turned: of its own data, or of other data."""
    data = data or test.data
    upright = data.subset([name for name in data.classes if "@" not in name])
    return FewShot(upright, test.ways, test.shots, test.queries, seed=test.seed)


def _points(results: dict[str, Any], name: str, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the numbers of classes for which there is a run, and what was found of it."""
    found = [(count, results["runs"].get(f"{name}-{count}-{kind}")) for count in COUNTS]
    return [(count, each) for count, each in found if each is not None]


def markdown(results: dict[str, Any]) -> str:
    """Return accuracies in per cent: a table for each kind of test tasks."""
    parts = []
    for test, title in TESTS.items():
        counts = sorted({count for name in METHODS for kind in KINDS for count, _ in _points(results, name, kind)})
        lines = [f"| tasks of {title} | {' | '.join(map(str, counts))} |", "|---|" + "---|" * len(counts)]
        for name, (label, _) in METHODS.items():
            for kind, words in KINDS.items():
                points = dict(_points(results, name, kind))
                cells = [percent(points[count][test]) if count in points else "" for count in counts]
                lines.append(f"| {label}, {words} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    parts.append(f"Nearest neighbour on pixels, tasks of new classes: {percent(results['nearest'])}.")
    return "\n\n".join(parts)


@styled
def figure(results: dict[str, Any]) -> Figure:
    """Draw accuracy on new classes, and how much higher it is on training classes, by the number of classes."""
    drawn = Figure(figsize=(9, 3.8))
    left: Any = drawn.add_subplot(1, 2, 1)
    right: Any = drawn.add_subplot(1, 2, 2)
    for j, (name, (label, _)) in enumerate(METHODS.items()):
        for kind, words in KINDS.items():
            points = _points(results, name, kind)
            counts = [count for count, _ in points]
            lost = [100 * (each["seen"]["mean"] - each["new"]["mean"]) for _, each in points]
            style: dict[str, Any] = {"color": COLOURS[j], "marker": MARKERS[j], "linestyle": "-:"[kind == "upright"]}
            rotations = words if kind == "turned" else f"{words} rotations"
            bars(left, counts, [each["new"] for _, each in points], label=f"{label}, {rotations}", **style)
            right.plot(counts, lost, **style)
    left.axhline(100 * results["nearest"]["mean"], color=GREY, linestyle="--", label="nearest neighbour on pixels")
    right.axhline(0, color=GREY, linewidth=1)
    left.set_title("tasks of new classes", loc="left")
    left.set_ylabel("accuracy, %")
    right.set_title("training classes minus new classes", loc="left")
    right.set_ylabel("difference in accuracy, points")
    for axes in (left, right):
        logarithmic(axes, COUNTS)
        axes.set_xlabel("meta-training classes, before rotations")
    drawn.legend(loc="outside lower center", ncols=3, fontsize=8)
    return drawn


def summary(results: dict[str, Any]) -> list[str]:
    """Return the tables, and what their figures are."""
    return ["5-way 1-shot accuracy, %", *markdown(results).splitlines()]


training_classes = Study("training-classes", plan, markdown, summary, {"classes": figure}, seeds=1)
