"""One task of the demonstration's test data, with what its Prototypical network says of new drawings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from quickstudy.batching import select
from quickstudy.cli import demo
from quickstudy.reports.plots import BAD, styled
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy_studies.driver import Found, Part, Plan, Study, of_this_code
from quickstudy_studies.shared.drawings import as_drawing, as_text

WAYS, QUERIES = 5, 7
LETTERS = "ABCDE"


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """One test task of the demonstration: five characters seen once, and what is said of new drawings of them.

    Args:
        folder: gets results.json, table.md, episode.png, and the run, which goes on where it was interrupted.
        quick: two steps.
        seeds: tasks, from the first on; the picture is of the last.
    """
    pieces = {f"task {number}": partial(one, folder / "protonet", number, quick) for number in range(seeds)}

    def results(found: Found) -> list[Any]:
        return list(found.values())

    return Plan((Part(pieces, of_this_code(quick=quick)),), results)


def one(run: Path, number: int, quick: bool) -> dict[str, Any]:
    """Return a test task of the demonstration's run, and its answers; train first unless that has been done."""
    recipe: Any = demo.recipes(quick)["ProtoNet"]
    learner = recipe.train(run, progress=False).learner.eval()
    tasks = FewShot(recipe.plan().test.data, WAYS, 1, QUERIES)
    task = select(tasks.bank(number + 1).batch(number, 1), 0)
    with torch.no_grad():
        shares = learner.predict(learner.adapt(task.support), task.query.inputs).softmax(1)
    return {
        "support": [as_text(each[0]) for each in task.support.inputs],
        "query": [as_text(each[0]) for each in task.query.inputs],
        "labels": task.query.labels.tolist(),
        "answers": shares.argmax(1).tolist(),
        "probabilities": shares.amax(1).tolist(),
    }


def right(task: dict[str, Any]) -> int:
    """Return how many queries of a task are named rightly."""
    return sum(answer == label for answer, label in zip(task["answers"], task["labels"], strict=True))


def markdown(found: list[dict[str, Any]]) -> str:
    """Return how many queries of each task are named rightly."""
    lines = ["| test task | queries | named rightly |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {i} | {len(each['labels'])} | {right(each)} |" for i, each in enumerate(found))])


def summary(found: list[dict[str, Any]]) -> list[str]:
    """Return what the picture shows."""
    return [
        f"test task {len(found) - 1}: {right(found[-1])} of {len(found[-1]['labels'])} new drawings are named rightly"
    ]


@styled
def figure(found: list[dict[str, Any]]) -> Figure:
    """Draw the support, and beside each class its queries with their answers; wrong ones are framed."""
    task = found[-1]
    drawn = Figure(figsize=(7.6, 4.5))
    axes: Any = drawn.subplots(WAYS, QUERIES + 2, gridspec_kw={"width_ratios": [1.25, 0.35] + [1] * QUERIES})
    for row in range(WAYS):
        axes[row, 0].imshow(as_drawing(task["support"][row]), cmap="gray_r")
        axes[row, 0].set_ylabel(LETTERS[row], rotation=0, fontsize=14, labelpad=12, va="center")
        axes[row, 1].axis("off")
        shown = [query for query, label in enumerate(task["labels"]) if label == row]
        for column, query in enumerate(shown, start=2):
            answer, panel = task["answers"][query], axes[row, column]
            panel.imshow(as_drawing(task["query"][query]), cmap="gray_r")
            text = f"{LETTERS[answer]}  {task['probabilities'][query]:.2f}"
            panel.set_xlabel(text, fontsize=7, labelpad=1, color="black" if answer == row else BAD)
            for side in panel.spines.values():
                side.set(visible=True, edgecolor="#cccccc" if answer == row else BAD)
                side.set_linewidth(0.8 if answer == row else 2.5)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.grid(visible=False)
    axes[0, 0].set_title("one example", fontsize=10)
    axes[0, 5].set_title("new drawings, and the class and probability that the learner gives", fontsize=10)
    return drawn


episode = Study("episode", plan, markdown, summary, {"episode": figure}, seeds=1)
