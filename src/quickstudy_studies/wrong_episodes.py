"""Episodes that the best model gets wrong, as a picture, and which kinds of classes are taken for each other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from quickstudy.cli.console import Tick
from quickstudy.datasets.base import ClassData
from quickstudy.registry import register
from quickstudy.reports.episodes import Episodes, play
from quickstudy.reports.plots import BAD, COLOURS, styled
from quickstudy.storage.checkpoint import write_atomically

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


@register("reproduction", "wrong-episodes")
def wrong_episodes(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Episodes that the best model gets wrong: a picture, and which classes are taken for which.

    Args:
        folder: gets results.json, table.md and wrong-episodes.png; the run lies in `trained/` beside it, where the rows
            of the results find it too.
        tick: told how many runs of how many are trained.
        quick: two steps, few tasks.
        seeds: repetitions; the picture is of the first.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.evaluation import BANK_SEED
    from quickstudy.reports.assessment import open_run
    from quickstudy_studies.results.omniglot_rows import ROWS
    from quickstudy_studies.shared.grid import QUICK
    from quickstudy_studies.shared.saving import picture, save
    from quickstudy_studies.shared.trained import place, train

    row = next(row for row in ROWS if row.name == ROW)
    row = dataclasses.replace(row, options={**row.options, **(QUICK if quick else {})})
    found, drawn = [], Figure()
    for seed in range(seeds):
        tick(seed, seeds)
        recipe = row.make(seed, quick=False)
        run = place(recipe, row.varies, folder)
        train(recipe, run)
        opened = open_run(run, ways=WAYS, queries=QUERIES)
        episodes = play(opened.learner, opened.test.bank(4 if quick else TASKS, BANK_SEED), TASKS)
        wrong = mistakes(episodes, opened.test.data)  # type: ignore[attr-defined]
        found.append(summary(episodes, wrong))
        if seed == 0:
            drawn = figure(episodes, chosen(wrong))
    tick(seeds, seeds)
    save(folder, found, table := markdown(found))
    write_atomically(folder / "wrong-episodes.png", picture(drawn, colours=12))
    return table.splitlines()


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


def summary(episodes: Episodes, wrong: Sequence[Mistake]) -> dict[str, Any]:
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


@styled
def figure(episodes: Episodes, shown: Sequence[Mistake]) -> Figure:
    """Draw a line for each mistake: the query, then the support, with the right class and the answer framed."""
    side = episodes.tasks.query.inputs.shape[-1]
    step, ways = side + 4, episodes.tasks.support.ways or 0
    start, gap = 2 * step, step // 2
    drawn = Figure(figsize=(8, 0.36 * len(shown) + 0.5))
    axes: Any = drawn.add_subplot()
    canvas = np.ones((step * len(shown) + gap, start + step * ways), dtype=np.float32)
    for line, each in enumerate(shown):
        top = line * step + (gap if line >= SHOWN else 0)
        inputs = episodes.tasks.support.inputs[each.task, :ways, 0]
        canvas[top : top + side, :side] = 1 - episodes.tasks.query.inputs[each.task, each.query, 0]
        for label, drawing in enumerate(inputs):
            canvas[top : top + side, start + label * step : start + label * step + side] = 1 - drawing
        for label, colour in ((each.right, GOOD), (each.answer, BAD)):
            corner = (start + label * step - 2, top - 2)
            axes.add_patch(Rectangle(corner, side + 3, side + 3, fill=False, edgecolor=colour, linewidth=1.6))
        axes.text(step, top + side / 2, f"{each.probability:.2f}", va="center", fontsize=7, color=BAD)
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
