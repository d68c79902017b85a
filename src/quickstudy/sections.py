"""The parts of a page about one run: each is a function that returns HTML, and `SECTIONS` is their order."""

from __future__ import annotations

import csv
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from quickstudy import batching, episodes, page, plots
from quickstudy.assessment import Assessment, Meter, OpenedRun
from quickstudy.episodes import Episodes
from quickstudy.errors import CheckpointError
from quickstudy.evaluation import Report
from quickstudy.functional import random
from quickstudy.functional.predictive import Predictive, point
from quickstudy.registry import TABLES, fill
from quickstudy.tasks import FewShot
from quickstudy.tasks.base import Bank
from quickstudy.words import BATCH_NORM, span, tasks_in_words

SHOWN_TASKS, SHOWN_WAYS, SHOWN_QUERIES = 3, 6, 6
CONFUSION_TASKS = 200

Section = Callable[[Assessment, Bank, str, int], list[str]]


def sections(found: Assessment, prefix: str, level: int, meter: Meter) -> list[str]:
    """Return everything about one run below its headline."""
    bank = found.run.test.bank(max(CONFUSION_TASKS, SHOWN_TASKS), found.seed).to(_device(found.run))
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
    classes = found.report.metric == "accuracy" and isinstance(test, FewShot) and test.data.targets is None
    headings = [("facts", "What, how, why, from where"), ("learning", "Learning curves")]
    if found.curve:
        headings.append(("curve", "Adaptation curve"))
    if len(found.report.presentations):
        headings.append(("presentations", "Accuracy as a class is presented again"))
    if classes and isinstance(test, FewShot) and test.data.inputs.ndim == 4:
        headings.append(("episodes", "Episodes"))
    if classes:
        headings += [("confusion", "Confusions"), ("map", "Map of one task")]
    if found.report.metric != "accuracy":
        headings.append(("functions", "Functions learned from a few points"))
    if len(found.report.reliability):
        headings.append(("calibration", "Calibration"))
    return [*headings, ("settings", "Settings and environment")]


def _facts(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    fill()
    run, facts = found.run, found.run.facts
    learner = TABLES["learner"].get(found.report.learner)
    about = learner.facts if learner else {}
    outer = facts.get("outer", {}) if isinstance(facts.get("outer"), dict) else {}
    how = TABLES["outer"].get(str(outer.get("outer")))
    why = TABLES["objective"].get(str(facts.get("objective")))
    rate = outer.get("arguments", {}).get("lr")
    rows = [
        ["What is learned", f"{about.get('learns', 'parameters')}: {found.report.learner} ({about.get('paper', '')})"],
        ["How", f"{how.facts.get('how', how.summary) if how else 'an outer optimiser of your own'}, outer rate {rate}"],
        ["Why", why.facts.get("why", why.summary) if why else str(facts.get("objective"))],
        ["From where", f"trained on {tasks_in_words(facts.get('tasks', {}))}"],
        ["", f"tested on {tasks_in_words(found.report.tasks)}"],
        ["Batch normalisation", f"{found.report.batch_norm}. {BATCH_NORM.get(found.report.batch_norm, '')}"],
    ]
    parts = [page.table([], rows)]
    sizes = [(label, getattr(tasks, "data", None)) for label, tasks in _splits(run)]
    known = [[label, len(data.classes), len(data), _groups(data)] for label, data in sizes if data is not None]
    if known:
        parts.append(page.table(["split", "classes", "examples", "of"], known, (1, 2)))
        parts.append(page.paragraph("No class is in two parts.", "soft"))
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
    drawing = plots.svg(plots.curve(found.curve, found.report.metric, own), name, f"Adaptation curve: {alt}")
    caption = f"Mean {found.report.metric} on queries of {found.curve_tasks} new tasks as the inner loop goes on."
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
    """Return accuracies by presentation as a table, a row a learner."""
    curves = {name: report.presentation_curve for name, report in reports.items()}
    count = len(next(iter(curves.values())))
    rows = [[name, *(f"{mean:.3f} ± {half:.3f}" for mean, half in curve)] for name, curve in curves.items()]
    return page.table(["presentation", *map(str, range(1, count + 1))], rows, range(1, count + 1))


def _episodes(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    played = episodes.play(found.run.learner, bank, SHOWN_TASKS, found.seed)
    parts = [
        page.paragraph(
            f"The first {len(played)} test tasks, not chosen. Each row is a class: what the learner was shown, then "
            "queries with the probability of its prediction. Green: right. Red: wrong, with the row it was taken for."
        )
    ]
    for t in range(len(played)):
        parts.append(f"<h{level + 1}>Task {t + 1}</h{level + 1}>")
        parts.append(_episode(played, t, bank.source.data.classes))  # type: ignore[attr-defined]
    return parts


def _episode(played: Episodes, t: int, names: Sequence[str]) -> str:
    assert played.classes is not None
    support, query = (batching.select(part, t) for part in (played.tasks.support, played.tasks.query))
    chances = torch.softmax(played.outputs[t].double(), -1)
    sure, guess = chances.max(-1)
    masks = [part.mask if part.mask is not None else torch.ones(len(part.labels)).bool() for part in (support, query)]
    letters = string.ascii_uppercase
    rows = []
    for n, number in enumerate(played.classes[t].tolist()[:SHOWN_WAYS]):
        if number < 0:
            continue
        label = letters[n % 26]
        shown = [
            page.tile(page.picture(support.inputs[i], f"support of class {label}, {names[number]}"))
            for i in ((support.labels == n) & masks[0]).nonzero().flatten().tolist()[:SHOWN_QUERIES]
        ]
        asked = []
        for i in ((query.labels == n) & masks[1]).nonzero().flatten().tolist()[:SHOWN_QUERIES]:
            right, taken = int(guess[i]) == n, letters[int(guess[i]) % 26]
            verdict = "right" if right else f"wrong, taken for class {taken}"
            alt = f"query of class {label}: {verdict}, probability {float(sure[i]):.2f}"
            caption = f"✓ {float(sure[i]):.2f}" if right else f"✗ {taken} {float(sure[i]):.2f}"
            asked.append(page.tile(page.picture(query.inputs[i], alt), caption, "right" if right else "wrong"))
        rows.append(
            f'<tr><td><b>{label}</b></td><td class="name">{page.escape(_short(names[number], 60))}</td>'
            f"<td>{''.join(shown)}</td><td>{''.join(asked)}</td></tr>"
        )
    share = float(((guess == query.labels) & masks[1]).double().sum() / masks[1].double().sum())
    more = played.classes.shape[1] > SHOWN_WAYS
    note = f"{100 * share:.0f} % of all {int(masks[1].sum())} queries right" + (
        "; some classes are left out." if more else "."
    )
    head = "<thead><tr><th></th><th>class</th><th>support</th><th>queries</th></tr></thead>"
    table = f'<div class="wide"><table class="episode">{head}<tbody>{"".join(rows)}</tbody></table></div>'
    return table + page.paragraph(note, "note")


def _confusion(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    assert isinstance(bank.source, FewShot)
    data = bank.source.data
    played = episodes.play(found.run.learner, bank, min(CONFUSION_TASKS, len(found.report.values)), found.seed)
    seen = episodes.confusions(played)
    parts = []
    attribute = episodes.grouping(data)
    if attribute is not None:
        groups, shares = seen.by(data.attributes[attribute])
        labels = [group.replace("_", " ").capitalize() for group in groups]
        alt = "; ".join(f"{label}: {row[-1]:.2f} right" for label, row in zip(labels, shares, strict=True))
        drawing = plots.svg(plots.matrix(shares, labels, [*labels, "class right"]), name, f"By {attribute}. {alt}")
        parts.append(
            page.figure(
                drawing,
                f"Share of the queries of each {attribute} (row) taken for a class of each {attribute} (column), and "
                f"of those whose very class is right; {len(played)} tasks.",
            )
        )
    worst = seen.worst(8)
    if not worst:
        return [*parts, page.paragraph("No pair of classes was confused more than once.")]
    parts.append(f"<h{level + 1}>Most confused classes</h{level + 1}>")
    if data.inputs.ndim != 4:
        rows = [[data.classes[a], data.classes[b], f"{n} of {chances}"] for a, b, n, chances in worst]
        return [*parts, page.table(["class", "taken for", "queries"], rows)]
    cards = []
    for a, b, n, chances in worst:
        tiles = "".join(page.tile(page.picture(_example(data, each), data.classes[each])) for each in (a, b))
        first, second = _short(data.classes[a], 60), _short(data.classes[b], 60)
        text = f"{first} taken for {second}: {n} of {chances} queries"
        cards.append(f'<div class="pair">{tiles}<div>{page.escape(text)}</div></div>')
    return [*parts, f'<div class="pairs">{"".join(cards)}</div>']


def _example(data: Any, number: int) -> torch.Tensor:
    pixels: torch.Tensor = data.inputs[int(data.starts[number])]
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def _map(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    assert isinstance(bank.source, FewShot)
    learner = found.run.learner
    played = episodes.play(learner, bank, 1, found.seed)
    assert played.classes is not None
    task = batching.select(bank.draw(torch.arange(1)), 0)
    key = random.learner_keys(found.seed, torch.zeros(1, dtype=torch.long, device=bank.device))[0]
    shown, asked, what = episodes.features(learner, task, key)
    support, query = batching.select(played.tasks.support, 0), batching.select(played.tasks.query, 0)
    keep = [episodes.mask_of(part)[0] for part in (played.tasks.support, played.tasks.query)]
    panels = {}
    shares = []
    for label, rows in {
        "raw inputs": (support.inputs.flatten(1), query.inputs.flatten(1)),
        what: (shown.cpu(), asked.cpu()),
    }.items():
        points, share = _projected(rows[0][keep[0]].double().numpy(), rows[1][keep[1]].double().numpy())
        panels[label] = points
        shares.append(f"{label} {100 * share:.0f} %")
    numbers = played.classes[0].tolist()
    classes = bank.source.data.classes
    names = [f"{string.ascii_uppercase[i % 26]} {_short(classes[c]) if c >= 0 else ''}" for i, c in enumerate(numbers)]
    wrong = (played.outputs[0].argmax(1) != query.labels)[keep[1]].tolist()
    drawing = plots.maps(panels, support.labels[keep[0]].tolist(), query.labels[keep[1]].tolist(), wrong, names)
    alt = f"Scatter plots of one task's queries by raw inputs and by {what}; {sum(wrong)} of {len(wrong)} are wrong."
    caption = (
        f"The first test task: its support (squares) and queries (dots; a ring marks wrong predictions) on the two "
        f"principal components of raw inputs and of {what}. Variance kept: {', '.join(shares)}."
    )
    return [page.figure(plots.svg(drawing, name, alt), caption)]


def _projected(
    support: np.ndarray[Any, Any], queries: np.ndarray[Any, Any]
) -> tuple[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], float]:
    rows = np.concatenate([support, queries])
    if rows.shape[1] < 2 or not rows.std() > 0:
        flat = np.concatenate([rows[:, :1], np.zeros((len(rows), 1))], 1)
        return (flat[: len(support)], flat[len(support) :]), 1.0
    pca = PCA(2, svd_solver="full").fit(rows)
    points = pca.transform(rows)
    return (points[: len(support)], points[len(support) :]), float(pca.explained_variance_ratio_.sum())


def _short(name: str, most: int = 34) -> str:
    name = name.replace("_", " ").replace("/", " / ")
    text = name if len(name) <= most else f"{name[: most - 1]}…"
    return text.capitalize() if text.isupper() else text


def _functions(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    drawn, predicted, bands = [], [], []
    for i in range(4):
        task = batching.select(bank.draw(torch.tensor([i])), 0)
        order = task.query.inputs.flatten(1)[:, 0].argsort()
        found_here = episodes.by_steps(found.run.learner, task, (0, 1, 5, 10))
        shown = slice(None) if task.support.mask is None else task.support.mask
        points = [task.support.inputs.flatten(1)[shown, 0], task.support.labels[shown].flatten()]
        points += [task.query.inputs.flatten(1)[order, 0], task.query.labels.flatten()[order]]
        drawn.append(tuple(each.cpu().numpy() for each in points))
        predicted.append({key: point(value).flatten()[order].cpu().numpy() for key, value in found_here.items()})
        bands.append(
            {
                key: 2 * value.std.flatten()[order].cpu().numpy()
                for key, value in found_here.items()
                if isinstance(value, Predictive)
            }
        )
    alt = f"Plots of four tasks: the true function, the support points, and predictions {', '.join(predicted[0])}."
    drawing = plots.svg(plots.functions(drawn, predicted, bands), name, alt)
    caption = "The first four test tasks, not chosen."
    if any(bands):
        caption += " Shaded: two standard deviations on either side of the mean."
    return [page.figure(drawing, caption)]


def _calibration(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    error = found.report.calibration
    drawing = plots.svg(plots.reliability(found.report.reliability), name, f"Reliability: error {error:.3f}")
    return [
        page.figure(
            drawing,
            f"Of queries predicted with some confidence, the share that is right (on the dashed line if calibrated). "
            f"Expected calibration error {error:.4f}, 15 bins.",
        )
    ]


def _settings(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    facts = found.run.facts
    options = facts.get("settings", {}).get("options", {})
    environment = {"quickstudy": facts.get("version"), **facts.get("environment", {})}
    parts = [page.table(["option", "value"], [[key, span(value)] for key, value in options.items()])]
    parts.append(page.table(["environment of training", ""], [[key, value] for key, value in environment.items()]))
    facts_of_test = [["test tasks", len(found.report.values)], ["seed of the bank of test tasks", found.seed]]
    facts_of_test += [["parameters of the learner", f"{sum(p.numel() for p in found.run.learner.parameters()):,}"]]
    parts.append(page.table(["evaluation", ""], facts_of_test))
    command = f"quickstudy evaluate {found.run.folder} --tasks {len(found.report.values)} --seed {found.seed}"
    parts.append(f"<p>The figure again: <code>{page.escape(command)}</code></p>")
    state = " open" if level == 2 else ""
    summary = "<summary>Everything that the run was made with</summary>"
    return [f"<details{state}>{summary}{''.join(parts)}</details>"]


SECTIONS: dict[str, Section] = {
    "facts": _facts,
    "learning": _learning,
    "curve": _curve,
    "presentations": _presentations,
    "episodes": _episodes,
    "functions": _functions,
    "confusion": _confusion,
    "map": _map,
    "calibration": _calibration,
    "settings": _settings,
}


def _device(run: OpenedRun) -> torch.device:
    return next((p.device for p in run.learner.parameters()), torch.device("cpu"))
