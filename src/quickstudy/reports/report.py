"""Pages about runs: one self-contained HTML file each, with nothing loaded from elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickstudy.core import Resumable
from quickstudy.evaluation import Report, differences, find_metric
from quickstudy.registry import table
from quickstudy.reports import page, plots, sections
from quickstudy.reports.assessment import BASELINE, Assessment, Meter, OpenedRun, assess, open_run, silent
from quickstudy.reports.words import tasks_in_words
from quickstudy.storage.checkpoint import BEST, load_checkpoint, write_atomically

GAP_TASKS = 200


def write_report(
    run_dir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    tasks: int = 600,
    checkpoint: str = "best",
    meter: Meter = silent,
) -> Path:
    """Evaluate a run and write a page about it.

    Args:
        run_dir: run folder that a recipe made.
        output: the page; None is report.html in the run folder.
        tasks: test tasks.
        checkpoint: 'best' or 'last'.
        meter: shows progress.

    Returns:
        The page's path.
    """
    run = open_run(run_dir, checkpoint)
    found = assess(run, tasks, meter=meter, curve_steps=curve_steps(run))
    title = f"{found.report.learner} on {found.report.tasks.get('name')}"
    body = [f"<h1>{page.escape(title)}</h1>", page.paragraph(_subtitle(found), "soft"), _cards(found)]
    body += [_contents(sections.titles(found)), *_beside(found), *sections.sections(found, "r", 2, meter)]
    path = Path(output) if output is not None else run.folder / "report.html"
    write_atomically(path, page.page(f"{title}: {run.name}", body).encode(errors="replace"))
    return path


def write_comparison(
    reports: Mapping[str, Report],
    run_dirs: Mapping[str, str | os.PathLike[str]],
    output: str | os.PathLike[str],
    title: str = "Learners compared on the same tasks",
    intro: str = "",
    checkpoint: str = "best",
    meter: Meter = silent,
) -> Path:
    """Write a page about several learners that were evaluated on the same tasks.

    Args:
        reports: the report of each learner by name, all of the same bank of tasks (`compare` gives them).
        run_dirs: run folder of those that have one, by the same names; each gets a part of the page.
        output: the page.
        title: heading.
        intro: a paragraph below it.
        checkpoint: 'best' or 'last'.
        meter: shows progress.

    Returns:
        The page's path.
    """
    ranked = dict(sorted(reports.items(), key=lambda item: -item[1].gain(0.0)))
    first = next(iter(ranked.values()))
    count = len(first.values)
    plain = [name for name, report in ranked.items() if _family(report.learner) == "baseline"]
    name, best = next(((k, v) for k, v in ranked.items() if k not in plain), next(iter(ranked.items())))
    body = [f"<h1>{page.escape(title)}</h1>"]
    if intro:
        body.append(page.paragraph(intro))
    body.append(page.paragraph(f"{count} tasks, the same for all: {tasks_in_words(first.tasks)}.", "soft"))
    rest = {k: v for k, v in ranked.items() if k in plain and k != name}
    cards = [page.card(name, _figure(best), f"± {_half(best)}", f"{best.entry.title}, 95 % interval, {_tasks(best)}")]
    if rest:
        other, second = next(iter(rest.items()))
        cards.append(page.card(f"Best without meta-learning: {other}", _figure(second), f"± {_half(second)}"))
        pair = differences({name: best, other: second})[0]
        cards.append(page.card("Paired difference", f"{pair.mean:+.3f}", f"± {pair.interval:.3f}", _verdict(pair)))
    body.append(f'<div class="headline">{"".join(cards)}</div>')
    links = [("all", "All learners"), ("pairs", "Paired differences")]
    body.append(_contents([*links, *((f"run{i}", label) for i, label in enumerate(run_dirs))]))
    body += ['<h2 id="all">All learners</h2>']
    alt = "; ".join(f"{k}: {v.mean:.3f} plus or minus {v.interval:.3f}" for k, v in ranked.items())
    drawing = plots.svg(plots.bars(ranked, _chance(first), plain), "bars", f"Bars of {first.entry.title}. {alt}")
    body.append(page.figure(drawing, "Means with 95 % intervals. Grey: baselines that do not meta-learn."))
    columns = ["learner", first.entry.title, "± (95 %)", "meta-learned", "calibration error", "batch norm"]
    rows = [
        [k, f"{v.mean:.4f}", f"{v.interval:.4f}", "no" if k in plain else "yes", _calibrated(v), v.batch_norm]
        for k, v in ranked.items()
    ]
    body.append(page.table(columns, rows, (1, 2, 4)))
    if len(first.presentations):
        drawing = plots.svg(plots.presentations(ranked), "presentations", "Accuracy by presentation; as in the table.")
        caption = "Accuracy at the 1st, 2nd, ... presentation of a class, with 95 % intervals over tasks."
        body += [page.figure(drawing, caption), sections.presentation_table(ranked)]
    body.append('<h2 id="pairs">Paired differences</h2>')
    body.append(page.paragraph("All learners met the same tasks, so differences are taken task by task.", "soft"))
    pairs = [
        [f"{d.first} minus {d.second}", f"{d.mean:+.4f}", f"{d.interval:.4f}", "yes" if d.significant else "no"]
        for d in differences(ranked)
    ]
    body.append(page.table(["pair", "difference", "± (95 %)", "excludes zero"], pairs, (1, 2)))
    for i, (label, folder) in enumerate(run_dirs.items()):
        run = open_run(folder, checkpoint)
        found = assess(
            run,
            count,
            baselines={},
            meter=meter,
            report=reports[label],
            gap_tasks=GAP_TASKS,
            curve_steps=curve_steps(run),
        )
        body += [f'<h2 id="run{i}">{page.escape(label)}</h2>', page.paragraph(_subtitle(found), "soft"), _cards(found)]
        body += sections.sections(found, f"run{i}", 3, meter)
    path = Path(output)
    write_atomically(path, page.page(title, body).encode(errors="replace"))
    return path


def curve_steps(run: OpenedRun) -> int | None:
    """Return how long a run's adaptation curve is: a little beyond its own steps where these are few."""
    if not isinstance(run.learner, Resumable):
        return None
    return max(run.learner.inner_steps, 5 if find_metric(run.test.metric).predicts == "classes" else 10)


def _contents(titles: Sequence[tuple[str, str]], prefix: str = "") -> str:
    ids = {"all", "pairs"}
    links = [
        f'<a href="#{key if key in ids or key.startswith("run") else f"r-{key}"}">{page.escape(label)}</a>'
        for key, label in titles
    ]
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _subtitle(found: Assessment) -> str:
    run = found.run
    step = load_checkpoint(run.folder / BEST).get("step") if run.checkpoint == "best" else None
    weights = f"weights of step {step}, the best by validation" if step else "weights of the last step"
    return f"Run {run.name}, recipe {run.recipe.name}, {weights}. Tested on {tasks_in_words(found.report.tasks)}."


def _cards(found: Assessment) -> str:
    report = found.report
    where = f"{_tasks(report)} of classes never seen in training" if found.run.test.classes else _tasks(report, "new ")
    cards = [page.card(report.entry.title, _figure(report), f"± {_half(report)}", f"95 % interval over {where}")]
    for name, other in found.baselines.items():
        pair = next(each for each in found.versus if each.second == name)
        better = f"the run is {pair.mean:+.3f} ± {pair.interval:.3f} (paired)"
        cards.append(page.card(f"Without meta-learning: {name}", _figure(other), f"± {_half(other)}", better))
    if found.seen is not None:
        gap, half = found.gap
        note = f"training classes {found.seen.mean:.3f} ({len(found.seen.values)} tasks) minus new ones"
        cards.append(page.card("Meta-overfitting gap", f"{gap:+.3f}", f"± {half:.3f}", note))
    return f'<div class="headline">{"".join(cards)}</div>'


def _beside(found: Assessment) -> list[str]:
    if not found.baselines:
        return []
    reports = {found.report.learner: found.report, **found.baselines}
    alt = "; ".join(f"{name}: {report.mean:.3f}" for name, report in reports.items())
    drawing = plots.svg(plots.bars(reports, _chance(found.report), list(found.baselines)), "beside", f"Bars. {alt}")
    return [page.figure(drawing, "The run beside what learns nothing across tasks, on the same tasks; 95 % intervals.")]


def _figure(report: Report) -> str:
    return f"{report.mean:.3f}"


def _half(report: Report) -> str:
    return f"{report.interval:.3f}"


def _calibrated(report: Report) -> str:
    # Nearest neighbour makes probabilities of distances on a scale of its own, so these say nothing.
    known = not math.isnan(report.calibration) and report.learner != "NearestNeighbour"
    return f"{report.calibration:.4f}" if known else ""


def _tasks(report: Report, kind: str = "") -> str:
    every, counted = len(report.values), len(report.counted)
    return f"{every} {kind}tasks" if counted == every else f"{counted} of {every} {kind}tasks, where it is defined"


def _verdict(pair: Any) -> str:
    return "its 95 % interval excludes zero" if pair.significant else "its 95 % interval includes zero"


def _family(learner: str) -> str:
    entry = table("learner").get(learner)
    return entry.facts.get("family", "") if entry else "baseline" if learner == BASELINE else ""


def _chance(report: Report) -> float | None:
    ways = report.tasks.get("ways")
    chance = report.entry.chance
    if chance is None or not isinstance(ways, list) or ways[0] != ways[1]:
        return None
    return chance(int(ways[0]))
