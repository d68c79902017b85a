"""Draw what memories read along one sequence: `python docs/memory.py RUN [RUN ...] [--task 0]`.

The runs are of recipes such as glyphs-mann, glyphs-dnc and glyphs-lstm, trained on the same data. For each step the
picture shows the drawing, what the learner answered, and how much of what it read was written with the label of each
earlier step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.batching import select
from quickstudy.core import Examples
from quickstudy.learners.bases.reading import ReadingLearner
from quickstudy.reports.plots import COLOURS

SHOWN = 24
"""Steps drawn."""


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


def draw(axes: Any, name: str, learner: ReadingLearner, sequence: Examples) -> None:
    """Draw one learner's reads, with its answers along the top."""
    with torch.no_grad():
        answers = learner.stream(sequence).argmax(1)
        states = steps(learner, sequence)
    labels = sequence.labels.tolist()
    right = [int(a) == b for a, b in zip(answers, labels, strict=True)]
    asked = [label in labels[:t] for t, label in enumerate(labels)]
    text = f"{name}: {sum(ok for ok, known in zip(right, asked, strict=True) if known)} of {sum(asked)} right"
    axes.set_title(f"{text} of those whose class was shown before", loc="left", fontsize=9, pad=17)
    if hasattr(states[0], "read_weights"):
        image, ylabel = origins(states).T, "written at step"
    else:
        hidden = states[0][0] if isinstance(states[0], tuple) else states[0]
        units = torch.stack([(state[0] if isinstance(state, tuple) else state)[0] for state in states], 1)
        image, ylabel = units[: hidden.shape[1]][units.std(1).argsort(descending=True)[:SHOWN]].abs(), "unit"
    axes.imshow(image, cmap="Greys", aspect="auto", vmin=0, interpolation="nearest")
    if ylabel == "written at step":
        for t, label in enumerate(labels):
            for s in range(1, t + 1):
                # The label of row s - 1 comes with step s.
                if labels[s - 1] == label:
                    axes.add_patch(plt.Rectangle((t - 0.5, s - 0.5), 1, 1, fill=False, lw=0.7, ec=COLOURS[label]))
    for t, (ok, answer) in enumerate(zip(right, answers.tolist(), strict=True)):
        axes.annotate(
            "ABCDE"[answer],
            (t, 1.0),
            (0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="black" if ok else "crimson",
        )
    axes.set_ylabel(ylabel, fontsize=8)
    axes.tick_params(labelsize=7)


def main() -> None:
    """Write docs/images/memory.png, or the file named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders of memories trained on sequences")
    parser.add_argument("--task", type=int, default=0, help="which sequence of the bank")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "memory.png")
    options = parser.parse_args()

    tasks = qs.recipes.of_run(options.runs[0]).plan().test
    whole = select(tasks.bank(options.task + 1).batch(options.task, 1).query, 0)
    sequence = Examples(whole.inputs[:SHOWN], whole.labels[:SHOWN], ways=whole.ways)
    count = len(options.runs)
    figure = plt.figure(figsize=(8.2, 0.7 + 3.1 * count))
    grid = figure.add_gridspec(count + 1, 1, height_ratios=[0.42, *[3] * count], hspace=0.45)
    strip = grid[0].subgridspec(1, SHOWN, wspace=0.05)
    for t in range(SHOWN):
        axes = figure.add_subplot(strip[t])
        axes.imshow(sequence.inputs[t, 0], cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel("ABCDE"[int(sequence.labels[t])], fontsize=8, labelpad=1, color=COLOURS[sequence.labels[t]])
    for row, folder in enumerate(options.runs, start=1):
        learner = qs.load(folder)
        axes = figure.add_subplot(grid[row])
        draw(axes, type(learner).__name__, learner, sequence)
    axes.set_xlabel("step", fontsize=8)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    main()
