"""Pages about runs: one self-contained HTML file each, with nothing loaded from elsewhere."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickstudy.core import Learner, Resumable
from quickstudy.evaluation import Report, find_metric
from quickstudy.registry import table
from quickstudy.reports import page, plots, sections
from quickstudy.reports.assessment import BASELINES, Assessment, Meter, OpenedRun, assess, open_run, silent
from quickstudy.reports.comparison import Comparison, Method, method_differences
from quickstudy.reports.words import ONE_METHOD, OVER_RUNS, tasks_in_words
from quickstudy.storage.checkpoint import BEST, load_checkpoint, write_atomically
from quickstudy.tasks.base import TaskDistribution

GAP_TASKS = 200
COMPARED = "Learners compared on the same tasks"
BARS = "Means with 95 % intervals. Grey: baselines that do not meta-learn."


def write_report(
    run_dir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    tasks: int = 600,
    checkpoint: str = "best",
    meter: Meter = silent,
    *,
    test: TaskDistribution | None = None,
    data: str | os.PathLike[str] | None = None,
    learner: Learner | None = None,
) -> Path:
    """Evaluate a run and write a page about it.

    Args:
        run_dir: run folder.
        output: the page; None is report.html in the run folder.
        tasks: test tasks.
        checkpoint: 'best' or 'last'.
        meter: shows progress.
        test: where test tasks come from; None takes what the run tells.
        data: a folder or an archive of images, or a table, whose new classes make the test tasks instead.
        learner: a learner built as for training, for a run that holds modules that are not registered.

    Returns:
        The page's path.
    """
    run = open_run(run_dir, checkpoint, tasks=test, data=data, learner=learner)
    return write_page(run, Path(output) if output is not None else run.folder / "report.html", tasks, meter)


def write_page(run: OpenedRun, path: Path, tasks: int = 600, meter: Meter = silent) -> Path:
    """Evaluate a run that is open and write a page about it; return the page's path."""
    found = assess(run, tasks, meter=meter, curve_steps=curve_steps(run))
    title = f"{found.report.learner} on {found.report.tasks.get('name')}"
    body = [f"<h1>{page.escape(title)}</h1>", page.paragraph(_subtitle(found), "soft"), _cards(found)]
    body += [_contents(sections.titles(found)), *_beside(found), *sections.sections(found, "r", 2, meter)]
    write_atomically(path, page.page(f"{title}: {run.name}", body).encode(errors="replace"))
    return path


def write_comparison(
    reports: Mapping[str, Report],
    run_dirs: Mapping[str, str | os.PathLike[str]],
    output: str | os.PathLike[str],
    title: str = COMPARED,
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
    methods = {name: Method(name, {name: report}) for name, report in reports.items()}
    runs = [dataclasses.replace(open_run(folder, checkpoint), name=name) for name, folder in run_dirs.items()]
    found = Comparison(reports, methods, method_differences(methods))
    return write_page_of_several(found, runs, Path(output), title, intro, meter)


def write_page_of_several(
    found: Comparison,
    runs: Sequence[OpenedRun],
    path: Path,
    title: str = COMPARED,
    intro: str = "",
    meter: Meter = silent,
) -> Path:
    """Write a page about runs that were compared.

    Args:
        found: the comparison.
        runs: those of them that get a part of the page; named as in the comparison.
        path: the page.
        title: heading.
        intro: a paragraph below it.
        meter: shows progress.

    Returns:
        The page's path.
    """
    ranked = dict(sorted(found.methods.items(), key=lambda item: -item[1].entry.gain(item[1].mean, 0.0)))
    first = next(iter(ranked.values())).first
    count = len(first.values)
    plain = [name for name, method in ranked.items() if _family(method.first.learner) == "baseline"]
    several = any(len(method.reports) > 1 for method in ranked.values())
    body = [f"<h1>{page.escape(title)}</h1>"]
    if intro:
        body.append(page.paragraph(intro))
    body.append(page.paragraph(f"{count} tasks, the same for all: {tasks_in_words(first.tasks)}.", "soft"))
    if several:
        body.append(page.paragraph(OVER_RUNS, "soft"))
    body.append(_headline(ranked, plain))
    # A method with several runs gets one part: its first run's.
    parts = [(run, method) for method in found.methods.values() for run in runs[:] if run.name in [*method.reports][:1]]
    links = [("all", "All learners"), ("pairs", "Paired differences")]
    body.append(_contents([*links, *((f"run{i}", method.label) for i, (_, method) in enumerate(parts))]))
    body += ['<h2 id="all">All learners</h2>']
    alt = "; ".join(f"{each.label}: {each.mean:.3f} plus or minus {each.interval:.3f}" for each in ranked.values())
    bars = plots.of_methods(list(ranked.values()))
    body.append(page.figure(plots.svg(bars, "bars", f"Bars of {first.entry.title}. {alt}"), BARS))
    columns = ["learner", first.entry.title, "± (95 %)", *(["runs"] if several else [])]
    columns += ["meta-learned", "calibration error", "batch norm"]
    rows = []
    for name, method in ranked.items():
        numbers = [method.label, f"{method.mean:.4f}", f"{method.interval:.4f}"]
        numbers += [str(len(method.reports))] if several else []
        rows.append([*numbers, "no" if name in plain else "yes", _calibrated(method), method.first.batch_norm])
    body.append(page.table(columns, rows, (1, 2, *((3, 5) if several else (4,)))))
    if len(first.presentations):
        shown = {method.label: method.first for method in ranked.values()}
        drawing = plots.svg(plots.presentations(shown), "presentations", "Accuracy by presentation; as in the table.")
        caption = "Accuracy at the 1st, 2nd, ... presentation of a class, with 95 % intervals over tasks."
        body += [page.figure(drawing, caption), sections.presentation_table(shown)]
    body.append('<h2 id="pairs">Paired differences</h2>')
    body.append(page.paragraph("All learners met the same tasks, so differences are taken task by task.", "soft"))
    pairs = [
        [
            f"{ranked[d.first].label} minus {ranked[d.second].label}",
            f"{d.mean:+.4f}",
            f"{d.interval:.4f}",
            "yes" if d.significant else "no",
        ]
        for d in method_differences(ranked)
    ]
    if pairs:
        body.append(page.table(["pair", "difference", "± (95 %)", "excludes zero"], pairs, (1, 2)))
    else:
        body.append(page.paragraph(ONE_METHOD))
    for i, (run, method) in enumerate(parts):
        known: dict[str, Any] = {"baselines": {}, "report": method.first, "gap_tasks": GAP_TASKS}
        each = assess(run, count, meter=meter, curve_steps=curve_steps(run), **known)
        body += [f'<h2 id="run{i}">{page.escape(method.label)}</h2>', page.paragraph(_subtitle(each), "soft")]
        body += [_cards(each), *sections.sections(each, f"run{i}", 3, meter)]
    write_atomically(path, page.page(title, body).encode(errors="replace"))
    return path


def _headline(ranked: Mapping[str, Method], plain: Sequence[str]) -> str:
    """Return the best method, the best without meta-learning, and how they differ."""
    name, best = next(((k, v) for k, v in ranked.items() if k not in plain), next(iter(ranked.items())))
    rest = [v for k, v in ranked.items() if k in plain and k != name]
    over = f"{best.entry.title}, 95 % interval, {_tasks(best.first)}"
    cards = [page.card(best.label, f"{best.mean:.3f}", f"± {best.interval:.3f}", over)]
    if rest:
        other = rest[0]
        title = f"Best without meta-learning: {other.label}"
        cards.append(page.card(title, f"{other.mean:.3f}", f"± {other.interval:.3f}"))
        pair = method_differences({"best": best, "other": other})[0]
        cards.append(page.card("Paired difference", f"{pair.mean:+.3f}", f"± {pair.interval:.3f}", _verdict(pair)))
    return f'<div class="headline">{"".join(cards)}</div>'


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
    recipe = f", recipe {run.recipe.name}" if run.recipe.name else ""
    return f"Run {run.name}{recipe}, {weights}. Tested on {tasks_in_words(found.report.tasks)}."


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
    methods = [Method(name, {name: report}) for name, report in reports.items()]
    drawing = plots.svg(plots.of_methods(methods), "beside", f"Bars. {alt}")
    return [page.figure(drawing, "The run beside what learns nothing across tasks, on the same tasks; 95 % intervals.")]


def _figure(report: Report) -> str:
    return f"{report.mean:.3f}"


def _half(report: Report) -> str:
    return f"{report.interval:.3f}"


def _calibrated(method: Method) -> str:
    # Nearest neighbour makes probabilities of distances on a scale of its own, so these say nothing.
    errors = [each.calibration for each in method.reports.values() if each.learner != "NearestNeighbour"]
    return f"{sum(errors) / len(errors):.4f}" if errors and not any(map(math.isnan, errors)) else ""


def _tasks(report: Report, kind: str = "") -> str:
    every, counted = len(report.values), len(report.counted)
    return f"{every} {kind}tasks" if counted == every else f"{counted} of {every} {kind}tasks, where it is defined"


def _verdict(pair: Any) -> str:
    return "its 95 % interval excludes zero" if pair.significant else "its 95 % interval includes zero"


def _family(learner: str) -> str:
    entry = table("learner").get(learner)
    return entry.facts.get("family", "") if entry else "baseline" if learner in BASELINES else ""
