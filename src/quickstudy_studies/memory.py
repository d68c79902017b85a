"""The readings of memories along one sequence: a MANN and a DNC on Omniglot's drawings, step by step.

For each step the picture shows the drawing, what the learner answered, and how much of what it read was written with
the label of each earlier step.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from quickstudy.batching import select
from quickstudy.core import Examples
from quickstudy.learners.bases.reading import ReadingLearner
from quickstudy.recipes.base import Recipe
from quickstudy.reports.plots import BAD, COLOURS, styled
from quickstudy_studies.driver import Part, Plan, Study, of_this_code
from quickstudy_studies.shared.drawings import as_drawing, as_text
from quickstudy_studies.shared.grid import recipe

SHOWN = 24
"""Steps drawn."""
LETTERS = "ABCDE"
MEMORIES: dict[str, dict[str, Any]] = {
    "omniglot-mann": {"steps": 2000},
    "omniglot-dnc": {"steps": 1000, "presentations": 5},
}
"""Recipes, and their options."""
BRIEF: dict[str, Any] = {"steps": 2, "validation_tasks": 2, "hidden": 8}


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """The readings and answers of a MANN and a DNC along one sequence of Omniglot's drawings.

    Args:
        folder: gets results.json, table.md, memory.png and a folder of each run, where what was interrupted goes on.
        quick: two steps of training.
        seeds: sequences, from the first on; the picture is of the last.
    """
    options = {name: {**known, **(BRIEF if quick else {})} for name, known in MEMORIES.items()}
    made = {name: recipe(name, **each) for name, each in options.items()}
    first = next(iter(made.values()))
    pieces = {name: partial(read, each, folder / name, first, seeds - 1) for name, each in made.items()}
    return Plan((Part(pieces, of_this_code(options=options, sequence=seeds - 1)),), lambda found: list(found.values()))


def read(memory: Recipe, run: Path, asked: Recipe, number: int) -> dict[str, Any]:
    """Return what a memory answers and reads along a test sequence, as JSON; train it unless that has been done.

    Args:
        memory: recipe of the memory.
        run: its folder.
        asked: the recipe whose test sequence is read.
        number: of the sequence.
    """
    learner: Any = memory.train(run, progress=False).learner.cpu().eval()
    whole = select(asked.plan().test.bank(number + 1).batch(number, 1).query, 0)
    sequence = Examples(whole.inputs[:SHOWN], whole.labels[:SHOWN], ways=whole.ways)
    with torch.no_grad():
        answers = learner.stream(sequence).argmax(1)
        found = origins(steps(learner, sequence))
    return {
        "learner": type(learner).__name__,
        "labels": sequence.labels.tolist(),
        "answers": answers.tolist(),
        "drawings": [as_text(each[0]) for each in sequence.inputs],
        "origins": [[round(share, 4) for share in row] for row in found.tolist()],
    }


def steps(learner: ReadingLearner, sequence: Examples) -> list[Any]:
    """Return the cell's state after each row of a sequence."""
    states = []
    for t in range(1, len(sequence) + 1):
        rows = Examples(sequence.inputs[:t], sequence.labels[:t], ways=sequence.ways, check=False)
        states.append(learner.adapt(rows).cell)
    return states


def origins(states: list[Any]) -> Tensor:
    """Return (L, L) how much of what was read at step t lay in slots last written at step s, summing to one over s."""
    slots = states[0].memory.shape[1]
    written = torch.zeros(slots, len(states))
    found = torch.zeros(len(states), len(states))
    for t, state in enumerate(states):
        weights = state.read_weights[0].mean(0)
        if state.write_weights.ndim == 2:  # the DNC writes before it reads, through one head
            written = _write(written, state.write_weights[0], t)
            found[t] = weights @ written
        else:
            found[t] = weights @ written
            written = _write(written, state.write_weights[0].sum(0).clamp(max=1), t)
    return found


def _write(written: Tensor, weights: Tensor, step: int) -> Tensor:
    written = written * (1 - weights).unsqueeze(1)
    written[:, step] = weights
    return written


def score(found: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many drawings of classes that were shown before are named rightly, and of how many."""
    labels = found["labels"]
    asked = [t for t, label in enumerate(labels) if label in labels[:t]]
    return sum(found["answers"][t] == labels[t] for t in asked), len(asked)


def markdown(found: list[dict[str, Any]]) -> str:
    """Return how many drawings of classes that were shown before each memory names rightly."""
    lines = ["| memory | named rightly, of those whose class was shown before |", "|---|---|"]
    return "\n".join([*lines, *(f"| {each['learner']} | {'{} of {}'.format(*score(each))} |" for each in found)])


def summary(found: list[dict[str, Any]]) -> list[str]:
    """Return the same in lines."""
    return ["{}: {} of {} right".format(each["learner"], *score(each)) for each in found]


@styled
def figure(found: list[dict[str, Any]]) -> Figure:
    """Draw the sequence, and below what each memory reads, with its answers along the top."""
    drawn = Figure(figsize=(8.2, 0.7 + 3.1 * len(found)))
    grid = drawn.add_gridspec(len(found) + 1, 1, height_ratios=[0.42, *[3] * len(found)])
    labels = found[0]["labels"]
    strip = grid[0].subgridspec(1, len(labels), wspace=0.05)
    for t, (label, text) in enumerate(zip(labels, found[0]["drawings"], strict=True)):
        panel: Any = drawn.add_subplot(strip[t])
        panel.imshow(as_drawing(text), cmap="gray_r")
        panel.set(xticks=[], yticks=[])
        panel.set_xlabel(LETTERS[label], fontsize=8, labelpad=1, color=COLOURS[label])
    for row, each in enumerate(found, start=1):
        panel = drawn.add_subplot(grid[row])
        _reads(panel, each)
    panel.set_xlabel("step", fontsize=8)
    return drawn


def _reads(panel: Any, found: Mapping[str, Any]) -> None:
    """Draw what one memory reads."""
    labels, answers = found["labels"], found["answers"]
    title = "{}: {} of {} right of those whose class was shown before".format(found["learner"], *score(found))
    panel.set_title(title, loc="left", fontsize=9, pad=17)
    panel.imshow(np.array(found["origins"]).T, cmap="Greys", aspect="auto", vmin=0, interpolation="nearest")
    panel.grid(visible=False)
    for t, label in enumerate(labels):
        for s in range(1, t + 1):
            # The label of row s - 1 comes with step s.
            if labels[s - 1] == label:
                panel.add_patch(Rectangle((t - 0.5, s - 0.5), 1, 1, fill=False, lw=0.7, ec=COLOURS[label]))
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
    for t, (answer, label) in enumerate(zip(answers, labels, strict=True)):
        colour = "black" if answer == label else BAD
        panel.annotate(LETTERS[answer], (t, 1.0), (0, 4), fontsize=8, color=colour, **where)
    panel.set_ylabel("written at step", fontsize=8)
    panel.tick_params(labelsize=7)


memory = Study("memory", plan, markdown, summary, {"memory": figure}, seeds=1)
