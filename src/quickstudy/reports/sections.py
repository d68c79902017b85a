"""The parts of a page about one run: each is a function that returns HTML, and `SECTIONS` is their order."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from quickstudy.errors import CheckpointError
from quickstudy.evaluation import Report
from quickstudy.functional.predictive import Predictive, point
from quickstudy.plugins import IMPORTED
from quickstudy.registry import table
from quickstudy.reports import episodes, page, plots, sections_classes, sections_uncertainty
from quickstudy.reports.assessment import Assessment, Meter, OpenedRun
from quickstudy.reports.guarantee import OF_DRAWN_WEIGHTS
from quickstudy.reports.words import BATCH_NORM, span, tasks_in_words
from quickstudy.tasks import FewShot
from quickstudy.tasks.base import Bank

Section = Callable[[Assessment, Bank, str, int], list[str]]


def sections(found: Assessment, prefix: str, level: int, meter: Meter) -> list[str]:
    """Return everything about one run below its headline."""
    bank = found.run.test.bank(sections_classes.CONFUSION_TASKS, found.seed)
    parts: list[str] = []
    with meter(f"{found.run.name}: page") as tick:
        headings = dict(titles(found))
        for i, (key, section) in enumerate(SECTIONS.items()):
            tick(i, len(SECTIONS))
            if key in headings:
                parts.append(f'<h{level} id="{prefix}-{key}">{headings[key]}</h{level}>')
                parts += section(found, bank, f"{prefix}-{key}", level)
    return parts


def titles(found: Assessment) -> list[tuple[str, str]]:
    """Return the sections that a run has."""
    test = found.run.test
    classes = found.report.entry.predicts == "classes" and isinstance(test, FewShot) and test.data.targets is None
    headings = [("facts", "Setup"), ("learning", "Learning curves")]
    if found.curve:
        headings.append(("curve", "Adaptation curve"))
    if len(found.report.presentations):
        headings.append(("presentations", "Accuracy as a class is presented again"))
    if classes and isinstance(test, FewShot) and sections_classes.of_images(test.data):
        headings.append(("episodes", "Episodes"))
    if classes:
        headings += [("confusion", "Confusions"), ("map", "Map of one task")]
    if found.report.entry.predicts == "targets":
        headings.append(("functions", "Functions learned from a few points"))
    if len(found.report.reliability):
        headings.append(("calibration", "Calibration"))
    if sections_uncertainty.says_how_sure(found.run):
        headings.append(("abstention", "Intervals, prediction sets and abstention"))
    return [*headings, ("settings", "Settings and environment")]


def _facts(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    run, facts = found.run, found.run.facts
    learner = table("learner").get(found.report.learner)
    about = learner.facts if learner else {}
    outer = facts.get("outer", {}) if isinstance(facts.get("outer"), dict) else {}
    how = table("outer").get(str(outer.get("outer")))
    described = facts.get("objective")
    goal = described.get("objective") if isinstance(described, dict) else described
    why = table("objective").get(str(goal))
    rate = outer.get("arguments", {}).get("lr")
    rows = [
        ["What is learned", f"{about.get('learns', 'parameters')}: {found.report.learner} ({about.get('paper', '')})"],
        ["How", f"{how.facts.get('how', how.summary) if how else 'an outer optimiser of your own'}, outer rate {rate}"],
        ["Why", why.facts.get("why", why.summary) if why else str(goal)],
        ["From where", f"trained on {tasks_in_words(facts.get('tasks', {}))}"],
        ["", f"tested on {tasks_in_words(found.report.tasks)}"],
        ["Batch normalisation", f"{found.report.batch_norm}. {BATCH_NORM.get(found.report.batch_norm, '')}"],
    ]
    if found.bound is not None:
        rows.append(
            [
                "Guaranteed error on new tasks",
                f"{found.bound}. {OF_DRAWN_WEIGHTS} Its error: {1 - found.report.mean:.4f}.",
            ]
        )
    parts = [page.table([], rows)]
    sizes = [(label, getattr(tasks, "data", None)) for label, tasks in _splits(run)]
    known = [[label, len(data.classes), len(data), _groups(data)] for label, data in sizes if data is not None]
    if known:
        parts.append(page.table(["split", "classes", "examples", "of"], known, (1, 2)))
        parts.append(page.paragraph("Training, validation and test classes are disjoint.", "soft"))
    return parts


def _splits(run: OpenedRun) -> list[tuple[str, Any]]:
    return [("meta-training", run.plan.train), ("validation", run.plan.validation), ("test", run.plan.test)]


def _groups(data: Any) -> str:
    attribute = next((name for name in ("script", "alphabet") if name in data.attributes), None)
    if attribute is None:
        return ""
    values = sorted({value.replace("_", " ").capitalize() for value in data.attributes[attribute]})
    return ", ".join(values) if len(values) <= 12 else f"{len(values)} {attribute}s"


def _learning(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    history: dict[str, tuple[list[float], list[float]]] = {}
    path = found.run.folder / "metrics.csv"
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                steps, values = history.setdefault(row["name"], ([], []))
                steps.append(float(row["step"]))
                values.append(float(row["value"]))
    except FileNotFoundError:
        pass  # A log may be left behind when a run is copied.
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore or delete it") from error
    history.pop("lr", None)
    history = dict(sorted(history.items(), key=lambda item: item[0] != "loss"))
    if not history:
        return [page.paragraph("The run logged nothing.")]
    alt = "; ".join(f"{key} from {values[0]:.3f} to {values[-1]:.3f}" for key, (_, values) in history.items())
    drawing = plots.svg(plots.learning(history), name, f"Learning curves: {alt}")
    return [
        page.figure(drawing, "Loss of the meta-batch at logged steps, and the metric on held-out validation tasks.")
    ]


def _curve(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    own = found.run.learner.inner_steps
    assert isinstance(own, int)
    alt = "; ".join(f"{step} steps {value:.3f}" for step, value in enumerate(found.curve))
    drawing = plots.svg(plots.curve(found.curve, found.report.entry.title, own), name, f"Adaptation curve: {alt}")
    what = f"{found.report.entry.title}: the mean on queries of {found.curve_tasks} new tasks"
    caption = f"{what} as the inner loop goes on."
    return [page.figure(drawing, caption)]


def _presentations(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    reports = {found.report.learner: found.report, **found.baselines}
    curve = found.report.presentation_curve
    alt = "; ".join(f"{number}: {mean:.3f}" for number, (mean, _) in enumerate(curve, 1))
    drawing = plots.svg(plots.presentations(reports), name, f"Accuracy by presentation: {alt}")
    caption = (
        "Examples come one by one, the label one step late. Accuracy at the 1st, 2nd, ... presentation of a class, "
        "with 95 % intervals over tasks. A class that was not shown yet gets no probability: at the 1st presentation "
        "only the very first example can be named, by chance."
    )
    return [page.figure(drawing, caption), presentation_table(reports)]


def presentation_table(reports: Mapping[str, Report]) -> str:
    """Return accuracies by presentation as a table, with one row per learner."""
    curves = {name: report.presentation_curve for name, report in reports.items()}
    count = len(next(iter(curves.values())))
    rows = [[name, *(f"{mean:.3f} ± {half:.3f}" for mean, half in curve)] for name, curve in curves.items()]
    return page.table(["presentation", *map(str, range(1, count + 1))], rows, range(1, count + 1))


def _functions(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    drawn, predicted, bands = [], [], []
    if not isinstance(bank.draw(torch.zeros(1, dtype=torch.long)).query.inputs, torch.Tensor):
        return [page.paragraph("Functions are not drawn, as the inputs of a row are several tensors.")]
    for task, key in episodes.one_by_one(found.run.learner, bank, 4):
        order = task.query.inputs.flatten(1)[:, 0].argsort()
        found_here = episodes.by_steps(found.run.learner, task, (0, 1, 5, 10), key)
        shown = slice(None) if task.support.mask is None else task.support.mask
        points = [task.support.inputs.flatten(1)[shown, 0], task.support.labels[shown].flatten()]
        points += [task.query.inputs.flatten(1)[order, 0], task.query.labels.flatten()[order]]
        sx, sy, x, y = map(_array, points)
        drawn.append((sx, sy, x, y))
        predicted.append({label: _array(point(value).flatten()[order]) for label, value in found_here.items()})
        bands.append(
            {
                label: 2 * _array(value.std.flatten()[order])
                for label, value in found_here.items()
                if isinstance(value, Predictive)
            }
        )
    alt = f"Plots of four tasks: the true function, the support points, and predictions {', '.join(predicted[0])}."
    drawing = plots.svg(plots.functions(drawn, predicted, bands), name, alt)
    caption = "The first four test tasks, not chosen."
    if any(bands):
        caption += " Shaded: two standard deviations on either side of the mean."
    return [page.figure(drawing, caption)]


def _array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16.
    return values.double().cpu().numpy()


def _settings(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    facts = found.run.facts
    options = facts.get("settings", {}).get("options", {})
    environment = {"quickstudy": facts.get("version"), **facts.get("environment", {})}
    idle = found.run.recipe.idle() if found.run.recipe.name else set()
    used = [[key, span(value)] for key, value in options.items() if key not in idle]
    parts = [page.table(["option", "value"], used)] if used else []
    parts.append(page.table(["environment of training", ""], [[key, value] for key, value in environment.items()]))
    facts_of_test = [["test tasks", len(found.report.values)], ["seed of the bank of test tasks", found.seed]]
    facts_of_test += [["parameters of the learner", f"{sum(p.numel() for p in found.run.learner.parameters()):,}"]]
    parts.append(page.table(["evaluation", ""], facts_of_test))
    parts.append(f"<p>Reproduce this number: <code>{page.escape(_command(found))}</code></p>")
    state = " open" if level == 2 else ""
    summary = "<summary>Everything that the run was made with</summary>"
    return [f"<details{state}>{summary}{''.join(parts)}</details>"]


def _command(found: Assessment) -> str:
    """Return the command that gives the figure again."""
    run = found.run
    words = ["quickstudy", "evaluate", str(run.folder), *(["--data", run.data] if run.data else [])]
    if isinstance(run.test, FewShot):
        for name in ("ways", "shots"):
            low, high = getattr(run.test, name)
            words += [f"--{name}", str(high)] if low == high else []
    words += ["--tasks", str(len(found.report.values)), "--seed", str(found.seed)]
    words += [] if run.checkpoint == "best" else ["--checkpoint", run.checkpoint]
    return " ".join(map(shlex.quote, [*words, *(f"--import={path}" for path in IMPORTED)]))


SECTIONS: dict[str, Section] = {
    "facts": _facts,
    "learning": _learning,
    "curve": _curve,
    "presentations": _presentations,
    "episodes": sections_classes.shown,
    "functions": _functions,
    "confusion": sections_classes.confusion,
    "map": sections_classes.drawn,
    "calibration": sections_uncertainty.calibration,
    "abstention": sections_uncertainty.abstention,
    "settings": _settings,
}
