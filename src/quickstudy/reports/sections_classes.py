"""The parts of a page about a run on classes of a data set: what was taken for what."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from quickstudy import batching
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation.metrics.rows import row_mask
from quickstudy.reports import episodes, page, plots
from quickstudy.reports.assessment import Assessment
from quickstudy.reports.episodes import Episodes
from quickstudy.tasks import FewShot
from quickstudy.tasks.base import Bank

SHOWN_TASKS, SHOWN_WAYS, SHOWN_QUERIES = 3, 6, 6
CONFUSION_TASKS = 200


def shown(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    """Return the first tasks, each query with what it was taken for."""
    played = episodes.play(found.run.learner, bank, SHOWN_TASKS)
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
    masks = [row_mask(part)[t] for part in (played.tasks.support, played.tasks.query)]
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


def confusion(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    """Return which classes, and groups of classes, were taken for which."""
    assert isinstance(bank.source, FewShot)
    data = bank.source.data
    played = episodes.play(found.run.learner, bank, min(CONFUSION_TASKS, len(found.report.values)))
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
    if not of_images(data):
        rows = [[data.classes[a], data.classes[b], f"{n} of {chances}"] for a, b, n, chances in worst]
        return [*parts, page.table(["class", "taken for", "queries"], rows)]
    cards = []
    for a, b, n, chances in worst:
        tiles = "".join(page.tile(page.picture(_example(data, each), data.classes[each])) for each in (a, b))
        first, second = _short(data.classes[a], 60), _short(data.classes[b], 60)
        text = f"{first} taken for {second}: {n} of {chances} queries"
        cards.append(f'<div class="pair">{tiles}<div>{page.escape(text)}</div></div>')
    return [*parts, f'<div class="pairs">{"".join(cards)}</div>']


def of_images(data: ClassData) -> bool:
    """Return whether the rows of data are images, which can be shown."""
    return isinstance(data.inputs, torch.Tensor) and data.inputs.ndim == 4


def _example(data: Any, number: int) -> torch.Tensor:
    pixels: torch.Tensor = data.inputs[int(data.starts[number])]
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def drawn(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    """Return a map of the first task, by raw inputs and by what the learner makes of them."""
    assert isinstance(bank.source, FewShot)
    learner = found.run.learner
    played = episodes.play(learner, bank, 1)
    assert played.classes is not None
    ((shown, asked, what),) = (episodes.features(learner, *each) for each in episodes.one_by_one(learner, bank, 1))
    support, query = batching.select(played.tasks.support, 0), batching.select(played.tasks.query, 0)
    keep = [row_mask(part)[0] for part in (played.tasks.support, played.tasks.query)]
    panels = {}
    shares = []
    mapped = {what: (shown.cpu(), asked.cpu())}
    # Several tensors have no one space whose principal components could be drawn.
    if isinstance(support.inputs, torch.Tensor):
        mapped = {"raw inputs": (support.inputs.flatten(1), query.inputs.flatten(1)), **mapped}
    for label, rows in mapped.items():
        points, share = _projected(rows[0][keep[0]].double().numpy(), rows[1][keep[1]].double().numpy())
        panels[label] = points
        shares.append(f"{label} {100 * share:.0f} %")
    numbers = played.classes[0].tolist()
    classes = bank.source.data.classes
    names = [f"{string.ascii_uppercase[i % 26]} {_short(classes[c]) if c >= 0 else ''}" for i, c in enumerate(numbers)]
    wrong = (played.outputs[0].argmax(1) != query.labels)[keep[1]].tolist()
    drawing = plots.maps(panels, support.labels[keep[0]].tolist(), query.labels[keep[1]].tolist(), wrong, names)
    alt = f"Scatter plots of one task's queries by {' and by '.join(mapped)}; {sum(wrong)} of {len(wrong)} are wrong."
    caption = (
        "The first test task: its support (large, outlined) and queries (small; a ring marks wrong predictions) on the "
        f"two principal components of {' and of '.join(mapped)}. Variance kept: {', '.join(shares)}."
    )
    if len(mapped) == 1:
        caption += " Raw inputs are left out, as those of a row are several tensors."
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
