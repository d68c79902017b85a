"""How far neural processes are from the exact posterior of a Gaussian process, by the number of support points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from quickstudy import batching
from quickstudy.core import Learner
from quickstudy.evaluation import evaluate, interval95
from quickstudy.functional import random
from quickstudy.learners import ExactGP
from quickstudy.recipes.base import Recipe
from quickstudy.reports.plots import COLOURS, GREY, INK, styled
from quickstudy.tasks import GaussianProcess
from quickstudy_studies.driver import Found, Part, Plan, Study, of_this_code
from quickstudy_studies.shared.cores import Piece
from quickstudy_studies.shared.grid import recipe

SHOTS = (3, 5, 7, 10, 15, 20)
"""Numbers of support points."""
CHUNK = 25
"""Tasks at once: a process with many draws of its latent variable keeps much for each."""
SHOWN, PICTURES, POINTS = 7, 2, 300
"""Support points in the pictures of single tasks, how many tasks are shown, and points along x."""
NAMES = {"gp-cnp": "CNP", "gp-np": "NP", "gp-anp": "AttentiveNP"}
EXACT = "exact"


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Neural processes beside the exact posterior of the Gaussian process that their tasks are drawn from.

    Args:
        folder: gets results.json, table.md, neural-processes.png, neural-processes-gap.png, and a folder of each run,
            which goes on where it was interrupted.
        quick: two steps, few tasks.
        seeds: times as many test tasks.
    """
    options: dict[str, Any] = {"steps": 2, "validation_tasks": 5, "width": 8} if quick else {"steps": 3000}
    count = 5 if quick else 300 * seeds
    made = {name: recipe(name, **options) for name in NAMES}
    test: Any = next(iter(made.values())).plan().test
    pieces: dict[str, Piece] = {EXACT: partial(exact, test, count)}
    pieces |= {name: partial(trained, each, folder / name, test, count) for name, each in made.items()}
    return Plan((Part(pieces, of_this_code(tasks=count, **options)),), results)


def exact(tasks: GaussianProcess, count: int) -> dict[str, Any]:
    """Return what the exact posterior says."""
    return judged(posterior(tasks), tasks, count)


def trained(process: Recipe, run: Path, tasks: GaussianProcess, count: int) -> dict[str, Any]:
    """Return what a neural process says; train it first unless that has been done."""
    return judged(process.train(run, progress=False).learner.cpu().eval(), tasks, count)


def posterior(tasks: GaussianProcess, scales: int = 40) -> ExactGP:
    """Return the exact posterior, which knows the kernel, the noise and the range of length scales of the tasks."""
    low, high = tasks.length_scale
    return ExactGP(tasks.kernel, tuple(low + (high - low) * (i + 0.5) / scales for i in range(scales)), tasks.noise)


def same_tasks(tasks: GaussianProcess, shots: int) -> GaussianProcess:
    """Return tasks of the same process with another number of support points."""
    return GaussianProcess(tasks.kernel, tasks.length_scale, shots, 50, tasks.noise)


def judged(learner: Learner, tasks: GaussianProcess, count: int) -> dict[str, Any]:
    """Return log-likelihoods of test tasks by the number of support points, and predictions of the tasks shown."""
    banks = {shots: same_tasks(tasks, shots).bank(count) for shots in SHOTS}
    values = {str(shots): evaluate(learner, bank, count, chunk=CHUNK).values.tolist() for shots, bank in banks.items()}
    shown, x = [], torch.linspace(-2, 2, POINTS).unsqueeze(1)
    for number in range(PICTURES):
        support = batching.select(same_tasks(tasks, SHOWN).bank(number + 1).batch(number, 1), 0).support
        with torch.no_grad():
            found: Any = learner.predict(learner.learn(support, random.key(0)), x)
        parts = {"mean": found.mean, "std": found.std, "x": support.inputs, "y": support.labels}
        shown.append({name: each.flatten().tolist() for name, each in parts.items()})
    return {"values": values, "shown": shown}


def results(found: Found) -> dict[str, Any]:
    """Return mean log-likelihoods of the exact posterior, how far each process is below it, and what is shown."""
    best = {shots: np.array(values) for shots, values in found[EXACT]["values"].items()}
    below = {}
    for name, label in NAMES.items():
        gaps = {shots: best[shots] - np.array(values) for shots, values in found[name]["values"].items()}
        below[label] = {shots: [float(gap.mean()), interval95(gap)] for shots, gap in gaps.items()}
    shown = {label: found[name]["shown"] for name, label in {EXACT: EXACT, **NAMES}.items()}
    return {"exact": {shots: float(each.mean()) for shots, each in best.items()}, "below": below, "shown": shown}


def markdown(content: Mapping[str, Any]) -> str:
    """Return nats a query: of the exact posterior, and of how much less each process has."""
    below = content["below"]
    lines = [f"| support points | exact | {' | '.join(below)} |", "|---" * (len(below) + 2) + "|"]
    for shots, best in content["exact"].items():
        cells = [f"-{mean:.3f} ± {half:.3f}" for mean, half in (each[shots] for each in below.values())]
        lines.append(f"| {shots} | {best:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(content: Mapping[str, Any]) -> list[str]:
    """Return the table, and what its figures are."""
    return ["log-likelihood of a query, nats, and by how much each is below", *markdown(content).splitlines()]


@styled
def pictures(content: Mapping[str, Any]) -> Figure:
    """Draw predictions of single tasks beside the exact ones."""
    names = list(content["below"])
    drawn = Figure(figsize=(3.4 * len(names), 4.6))
    axes: Any = drawn.subplots(PICTURES, len(names), sharex=True, sharey=True, squeeze=False)
    x = np.linspace(-2, 2, POINTS)
    for column, name in enumerate(names):
        for row in range(PICTURES):
            panel, known = axes[row, column], content["shown"]
            for which, colour, style, label in ((EXACT, GREY, "--", "exact posterior"), (name, COLOURS[0], "-", name)):
                mean, std = (np.array(known[which][row][part]) for part in ("mean", "std"))
                panel.fill_between(x, mean - 2 * std, mean + 2 * std, color=colour, alpha=0.22, linewidth=0)
                panel.plot(x, mean, style, color=colour, linewidth=1.6, label=label)
            panel.plot(known[name][row]["x"], known[name][row]["y"], "o", color=INK, markersize=4)
            panel.set_title(name, loc="left", fontsize=10, fontweight="bold")
            panel.set(ylim=(-3.2, 3.2))
    axes[0, 0].legend(fontsize=7, loc="lower left")
    return drawn


@styled
def gaps(content: Mapping[str, Any]) -> Figure:
    """Draw how far each process is below the exact posterior, by the number of support points."""
    drawn = Figure(figsize=(6.4, 3.4))
    axes: Any = drawn.add_subplot()
    for colour, (name, each) in zip(COLOURS, content["below"].items(), strict=False):
        means, halves = zip(*each.values(), strict=True)
        axes.errorbar(SHOTS, means, yerr=halves, color=colour, marker="o", markersize=4, capsize=2, label=name)
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
    axes.annotate("exact posterior", (SHOTS[-1], 0), (0, 3), textcoords="offset points", ha="right", color=GREY)
    axes.set(xlabel="support points", ylabel="nats per query below the exact posterior")
    axes.legend(frameon=False)
    return drawn


neural_processes = Study(
    "neural-processes",
    plan,
    markdown,
    summary,
    {"neural-processes": pictures, "neural-processes-gap": gaps},
    seeds=1,
)
