"""Draw how far neural processes are from the exact posterior: `python docs/neural_processes.py RUN [RUN ...]`.

The runs are of recipes such as gp-cnp, gp-np and gp-anp, trained on the same tasks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.evaluation import interval95
from quickstudy.functional import random
from quickstudy.learners import ExactGP
from quickstudy.reports.plots import COLOURS, GREY
from quickstudy.tasks import GaussianProcess

SHOTS = (3, 5, 7, 10, 15, 20)
"""Numbers of support points."""
CHUNK = 25
"""Tasks at once: a process with many draws of its latent variable keeps much for each."""
SHOWN = 7
"""Support points in the pictures of single tasks."""
FOLDER = Path(__file__).parent / "images"


def exact(tasks: GaussianProcess, count: int = 40) -> ExactGP:
    """Return the exact posterior, which knows the kernel, the noise and the range of length scales of the tasks."""
    low, high = tasks.length_scale
    return ExactGP(tasks.kernel, tuple(low + (high - low) * (i + 0.5) / count for i in range(count)), tasks.noise)


def same_tasks(tasks: GaussianProcess, shots: int) -> GaussianProcess:
    """Return tasks of the same process with another number of support points."""
    return GaussianProcess(tasks.kernel, tasks.length_scale, shots, 50, tasks.noise)


def picture(axes: plt.Axes, name: str, learner: Learner, tasks: GaussianProcess, number: int) -> None:
    """Draw one learner's prediction of one task beside the exact one."""
    task = batching.select(same_tasks(tasks, SHOWN).bank(number + 1).batch(number, 1), 0)
    x = torch.linspace(-2, 2, 300).unsqueeze(1)
    reference = exact(tasks)
    truth = reference.predict(reference.adapt(task.support), x)
    found = learner.predict(batching.adapt_one(learner, task.support, random.key(0)), x)
    for prediction, colour, style, label in ((truth, GREY, "--", "exact posterior"), (found, COLOURS[0], "-", name)):
        mean, std = (each.squeeze(1).detach() for each in (prediction.mean, prediction.std))
        axes.fill_between(x.squeeze(1), mean - 2 * std, mean + 2 * std, color=colour, alpha=0.22, linewidth=0)
        axes.plot(x.squeeze(1), mean, style, color=colour, linewidth=1.6, label=label)
    axes.plot(task.support.inputs.flatten(), task.support.labels.flatten(), "o", color="black", markersize=4)
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold")
    axes.set(ylim=(-3.2, 3.2))


def main() -> None:
    """Write docs/images/neural-processes.png and neural-processes-gap.png; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders, such as runs/gp-cnp runs/gp-np runs/gp-anp")
    parser.add_argument("--tasks", type=int, default=300, help="test tasks for each number of support points")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the pictures")
    options = parser.parse_args()
    learners = {type(each).__name__: each.eval() for each in map(qs.load, options.runs)}
    tasks = qs.recipes.of_run(options.runs[0]).plan().test
    for run in options.runs[1:]:
        other = qs.recipes.of_run(run).plan().test
        if (other.kernel, other.length_scale, other.noise) != (tasks.kernel, tasks.length_scale, tasks.noise):
            parser.error(f"{run} was trained on another process than {options.runs[0]}")

    options.output.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, len(learners), figsize=(3.4 * len(learners), 4.6), sharex=True, sharey=True)
    for column, (name, learner) in enumerate(learners.items()):
        for row in range(2):
            picture(axes.reshape(2, -1)[row, column], name, learner, tasks, row)
    axes.flat[0].legend(fontsize=7, loc="lower left")
    figure.tight_layout(pad=0.4)
    figure.savefig(options.output / "neural-processes.png", dpi=120)

    print("| support points | exact | " + " | ".join(learners) + " |")
    print("|---" * (len(learners) + 2) + "|")
    gaps: dict[str, list[tuple[float, float]]] = {name: [] for name in learners}
    for shots in SHOTS:
        bank = same_tasks(tasks, shots).bank(options.tasks)
        best = qs.evaluate(exact(tasks), bank, options.tasks, chunk=CHUNK)
        cells = [f"{best.mean:.3f}"]
        for name, learner in learners.items():
            gap = best.values - qs.evaluate(learner, bank, options.tasks, chunk=CHUNK).values
            gaps[name].append((float(gap.mean()), interval95(gap)))
            cells.append(f"-{gap.mean():.3f} ± {interval95(gap):.3f}")
        print(f"| {shots} | " + " | ".join(cells) + " |", flush=True)

    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    for colour, (name, found) in zip(COLOURS, gaps.items(), strict=False):
        means, halves = zip(*found, strict=True)
        axis.errorbar(SHOTS, means, yerr=halves, color=colour, marker="o", markersize=4, capsize=2, label=name)
    axis.axhline(0, color=GREY, linestyle="--", linewidth=1)
    axis.annotate("exact posterior", (SHOTS[-1], 0), (0, 3), textcoords="offset points", ha="right", color=GREY)
    axis.set(xlabel="support points", ylabel="nats a query below the exact posterior")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(options.output / "neural-processes-gap.png", dpi=130)


if __name__ == "__main__":
    main()
