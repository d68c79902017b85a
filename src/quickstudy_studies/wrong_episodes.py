"""Episodes that the best model gets wrong, as a picture, and which kinds of classes are taken for each other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import BANK_SEED
from quickstudy.recipes.base import Recipe
from quickstudy.reports.assessment import open_run
from quickstudy.reports.episodes import Episodes, play
from quickstudy.reports.plots import BAD, COLOURS, styled
from quickstudy_studies.driver import Part, Plan, Study, of_this_code
from quickstudy_studies.results.omniglot_rows import ROWS
from quickstudy_studies.shared.drawings import as_drawing, as_text
from quickstudy_studies.shared.grid import QUICK
from quickstudy_studies.shared.trained import place, train

ROW = "omniglot-protonet-5w1s"
"""The row of the results whose run is shown."""
WAYS, QUERIES, TASKS = 20, 5, 400
SHOWN = 6
"""Episodes of either half of the picture."""
KINDS = ("turned copy", "same alphabet", "other alphabet")
GOOD = COLOURS[2]


@dataclass(frozen=True)
class Mistake:
    """A query that was named wrongly.

    Attributes:
        task: number of its task.
        query: number of its row.
        right: its label.
        answer: the label that it was given.
        probability: that the learner gave to its answer.
        second: whether the right class was the next likely.
        kind: what the answer is to the right class, one of `KINDS`.
        offered: share of the task's other classes that are of each of `KINDS`.
    """

    task: int
    query: int
    right: int
    answer: int
    probability: float
    second: bool
    kind: str
    offered: tuple[float, ...]


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Episodes that the best model gets wrong: a picture, and which classes are taken for which.

    Args:
        folder: gets results.json, table.md and wrong-episodes.png; the run lies in `trained/` beside it, where the rows
            of the results find it too.
        quick: two steps, few tasks.
        seeds: repetitions; the picture is of the first.
    """
    row = next(row for row in ROWS if row.name == ROW)
    row = dataclasses.replace(row, options={**row.options, **(QUICK if quick else {})})
    recipes = {f"seed {seed}": row.make(seed, quick=False) for seed in range(seeds)}
    tasks = 4 if quick else TASKS
    pieces = {name: partial(played, each, place(each, row.varies, folder), tasks) for name, each in recipes.items()}
    return Plan((Part(pieces, of_this_code(tasks=tasks, quick=quick)),), lambda found: list(found.values()))


def played(recipe: Recipe, run: Path, tasks: int) -> dict[str, Any]:
    """Return what a run gets wrong, and lines of the picture; train it first unless that has been done."""
    train(recipe, run)
    opened = open_run(run, ways=WAYS, queries=QUERIES)
    episodes = play(opened.learner, opened.test.bank(tasks, BANK_SEED), TASKS)
    wrong = mistakes(episodes, opened.test.data)  # type: ignore[attr-defined]
    return {**facts(episodes, wrong), "shown": [line(episodes, each) for each in chosen(wrong)]}


def mistakes(episodes: Episodes, data: ClassData) -> list[Mistake]:
    """Return the queries that were named wrongly, in their order."""
    assert episodes.classes is not None
    probabilities = episodes.outputs.softmax(-1)
    top = probabilities.topk(2, -1)
    answers, labels = top.indices[..., 0], episodes.tasks.query.labels
    found = []
    for task, query in (answers != labels).nonzero().tolist():
        right, answer = int(labels[task, query]), int(answers[task, query])
        kinds = [kind(data, int(episodes.classes[task, right]), other) for other in episodes.classes[task].tolist()]
        others = Counter(each for label, each in enumerate(kinds) if label != right)
        found.append(
            Mistake(
                task,
                query,
                right,
                answer,
                float(top.values[task, query, 0]),
                int(top.indices[task, query, 1]) == right,
                kinds[answer],
                tuple(others[each] / others.total() for each in KINDS),
            )
        )
    return found


def kind(data: ClassData, one: int, other: int) -> str:
    """Return what one class is to another: rotations of one character are classes of their own."""
    if data.classes[one].partition("@")[0] == data.classes[other].partition("@")[0]:
        return KINDS[0]
    alphabets = data.attributes["alphabet"]
    return KINDS[1] if alphabets[one] == alphabets[other] else KINDS[2]


def facts(episodes: Episodes, wrong: Sequence[Mistake]) -> dict[str, Any]:
    """Return counts and shares."""
    kinds = Counter(each.kind for each in wrong)
    return {
        "tasks": len(episodes),
        "queries": episodes.outputs.shape[0] * episodes.outputs.shape[1],
        "wrong": len(wrong),
        "all_right": len(episodes) - len({each.task for each in wrong}),
        "second": sum(each.second for each in wrong) / max(1, len(wrong)),
        "sure": sum(each.probability > 0.9 for each in wrong) / max(1, len(wrong)),
        "kinds": {name: kinds[name] / max(1, len(wrong)) for name in KINDS},
        "offered": dict(zip(KINDS, np.mean([each.offered for each in wrong] or [(0.0,) * 3], 0).tolist(), strict=True)),
    }


def chosen(wrong: Sequence[Mistake]) -> list[Mistake]:
    """Return what is shown: the first mistake of each of the first tasks with one, then the surest of other tasks."""
    found: list[Mistake] = []
    for count, ranked in ((SHOWN, wrong), (2 * SHOWN, sorted(wrong, key=lambda each: -each.probability))):
        for each in ranked:
            if len(found) < count and each.task not in {one.task for one in found}:
                found.append(each)
    return found


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the table: what wrong answers are to the right class, beside what chance would choose."""

    def mean(of: Any) -> float:
        return 100 * float(np.mean([of(each) for each in found]))

    lines = ["| the wrong answer is | of the wrong answers | of the wrong classes on offer |", "|---|---|---|"]
    titles = ("the same character, turned", "another of the same alphabet", "of another alphabet")
    for name, title in zip(KINDS, titles, strict=True):
        shares = (mean(lambda each, key=key, name=name: each[key][name]) for key in ("kinds", "offered"))
        lines.append(f"| {title} | " + " | ".join(f"{share:.1f} %" for share in shares) + " |")
    wrong, queries, whole, tasks = (
        sum(each[key] for each in found) for key in ("wrong", "queries", "all_right", "tasks")
    )
    second, sure = (mean(lambda each, key=key: each[key]) for key in ("second", "sure"))
    words = (
        f"{wrong:,} of {queries:,} queries are named wrongly ({100 * wrong / queries:.2f} %); in {whole} of {tasks} "
        f"tasks none. The right class is the second guess of {second:.0f} % of them; {sure:.0f} % of these wrong "
        "answers have a probability above 0.9."
    )
    return "\n".join([*lines, "", words])


def line(episodes: Episodes, mistake: Mistake) -> dict[str, Any]:
    """Return what is drawn of a mistake: drawings as text, the query before the support."""
    support = episodes.tasks.support.inputs[mistake.task, : episodes.tasks.support.ways, 0]
    drawings = torch.cat([episodes.tasks.query.inputs[mistake.task, mistake.query, :1], support])
    known = {"right": mistake.right, "answer": mistake.answer, "probability": mistake.probability}
    return {**known, "drawings": [as_text(each) for each in drawings]}


@styled
def figure(shown: Sequence[dict[str, Any]]) -> Figure:
    """Draw a line for each mistake: the query, then the support, with the right class and the answer framed."""
    drawings = [[as_drawing(text) for text in each["drawings"]] for each in shown]
    side = len(drawings[0][0]) if shown else 0
    step, ways = side + 4, len(drawings[0]) - 1 if shown else 0
    start, gap = 2 * step, step // 2
    drawn = Figure(figsize=(8, 0.36 * len(shown) + 0.5))
    axes: Any = drawn.add_subplot()
    canvas = np.ones((step * len(shown) + gap, start + step * ways), dtype=np.float32)
    for number, (each, (query, *support)) in enumerate(zip(shown, drawings, strict=True)):
        top = number * step + (gap if number >= SHOWN else 0)
        canvas[top : top + side, :side] = 1 - query
        for label, drawing in enumerate(support):
            begin = start + label * step
            canvas[top : top + side, begin : begin + side] = 1 - drawing
        for label, colour in ((each["right"], GOOD), (each["answer"], BAD)):
            corner = (start + label * step - 2, top - 2)
            axes.add_patch(Rectangle(corner, side + 3, side + 3, fill=False, edgecolor=colour, linewidth=1.6))
        axes.text(step, top + side / 2, f"{each['probability']:.2f}", va="center", fontsize=7, color=BAD)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlim(-3, canvas.shape[1])
    axes.set_ylim(canvas.shape[0], -3)
    axes.axis("off")
    axes.set_title(
        "query, probability of the answer, and the support: framed green what was right, red what was answered",
        loc="left",
        fontsize=8,
    )
    return drawn


def summary(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table's lines."""
    return markdown(found).splitlines()


wrong_episodes = Study(
    "wrong-episodes",
    plan,
    markdown,
    summary,
    {"wrong-episodes": lambda found: figure(found[0]["shown"])},
    seeds=1,
    colours=12,
)
