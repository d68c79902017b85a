"""Draw one task of a run's test data with its learner's predictions: `python docs/picture.py RUN [--task 3]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import quickstudy as qs
from quickstudy.batching import select


def main() -> None:
    """Write docs/images/episode.png, or the file named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder, such as runs/demo/protonet")
    parser.add_argument("--task", type=int, default=0, help="which task of the bank")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "episode.png")
    options = parser.parse_args()

    learner = qs.load(options.run)
    tasks = qs.tasks.FewShot(qs.recipes.of_run(options.run).plan().test.data, ways=5, shots=1, queries=7)
    task = select(tasks.bank(options.task + 1).batch(options.task, 1), 0)
    state = learner.adapt(task.support)
    probabilities = learner.predict(state, task.query.inputs).softmax(1).detach()
    guess = probabilities.argmax(1)

    figure, axes = plt.subplots(5, 9, figsize=(7.6, 4.5), gridspec_kw={"width_ratios": [1.25, 0.35] + [1] * 7})
    for row in range(5):
        axes[row, 0].imshow(task.support.inputs[row, 0], cmap="gray_r")
        axes[row, 0].set_ylabel("ABCDE"[row], rotation=0, fontsize=14, labelpad=12, va="center")
        axes[row, 1].axis("off")
        shown = (task.query.labels == row).nonzero().squeeze(1)
        for column, query in enumerate(shown.tolist(), start=2):
            right = int(guess[query]) == row
            axes[row, column].imshow(task.query.inputs[query, 0], cmap="gray_r")
            text = f"{'ABCDE'[int(guess[query])]}  {float(probabilities[query].max()):.2f}"
            axes[row, column].set_xlabel(text, fontsize=7, labelpad=1, color="black" if right else "crimson")
            for side in axes[row, column].spines.values():
                side.set_edgecolor("#cccccc" if right else "crimson")
                side.set_linewidth(0.8 if right else 2.5)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    axes[0, 0].set_title("one example", fontsize=10)
    axes[0, 5].set_title("new drawings, and the class and probability that the learner gives", fontsize=10)
    figure.tight_layout(pad=0.3, w_pad=0.2, h_pad=0.5)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=130)


if __name__ == "__main__":
    main()
