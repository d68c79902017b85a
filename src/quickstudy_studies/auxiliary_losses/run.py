"""Auxiliary losses whose worth is known, on 100 of scikit-learn's digits: does training learn which of them help?

The problem is the recipe `digits-auxiliary`: beside its digit, each row to train on brings what a teacher answers, its
pixels, and ten random numbers. The loss on 300 validation rows teaches the weights, and the net is tested on 697. The
outer rate was chosen on split 0, which is none of those reported.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from quickstudy.learners import AuxiliaryLosses
from quickstudy.recipes.tuning import TARGETS, DigitsAuxiliary
from quickstudy.reports.plots import COLOURS, styled

TITLES = {"teacher": "a teacher's logits", "inputs": "reconstruction", "random": "random numbers"}
NONE = 1e-9
"""What is left of the weight of a loss that is left out: weights are positive."""
Runs = Sequence[dict[str, Any]]


def run(recipe: DigitsAuxiliary) -> dict[str, Any]:
    """Return weights, and accuracies and losses on test rows, as JSON."""
    task, test = recipe.problem()

    def tested(learner: AuxiliaryLosses) -> dict[str, float]:
        with torch.no_grad():
            state = learner.adapt(task.support)
            right = learner.predict(state, test.inputs).argmax(1) == test.labels
            return {"loss": float(learner.loss(state, test)), "accuracy": float(right.float().mean())}

    def fixed(names: Sequence[str]) -> AuxiliaryLosses:
        torch.manual_seed(recipe.seed)
        learner = recipe.make_learner()
        with torch.no_grad():
            learner.log_weight.copy_(torch.tensor([0.0 if name in names else math.log(NONE) for name in TARGETS]))
        return learner

    # Alone, a loss counts as much as the main one.
    ways: dict[str, list[str]] = {"none": [], **{name: [name] for name in TARGETS}, "all, weight 1": list(TARGETS)}
    found = {way: tested(fixed(names)) for way, names in ways.items()}
    learned: Any = recipe.train(None, progress=False).learner
    return {"split": recipe.split, "test": {**found, "learned": tested(learned)}, "weights": learned.weights()}


def markdown(runs: Runs) -> str:
    """Return the tables of test rows and of weights."""
    lines = ["| auxiliary losses | test loss | test accuracy |", "|---|---|---|"]
    for way in runs[0]["test"]:
        loss, accuracy = (statistics.fmean(run["test"][way][part] for run in runs) for part in ("loss", "accuracy"))
        lines.append(f"| {TITLES.get(way, way)} | {loss:.3f} | {100 * accuracy:.1f} |")
    lines += ["", "| loss | learned weight, mean | lowest | highest |", "|---|---|---|---|"]
    for name, title in TITLES.items():
        values = [run["weights"][name] for run in runs]
        lines.append(f"| {title} | {statistics.fmean(values):.4f} | {min(values):.4f} | {max(values):.4f} |")
    return "\n".join(lines)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    losses = {way: statistics.fmean(run["test"][way]["loss"] for run in runs) for way in runs[0]["test"]}
    weights = {name: statistics.fmean(run["weights"][name] for run in runs) for name in TITLES}
    return [
        "Test loss: " + ", ".join(f"{TITLES.get(way, way)} {loss:.3f}" for way, loss in losses.items()),
        "Learned weights: " + ", ".join(f"{TITLES[name]} {value:.3f}" for name, value in weights.items()),
    ]


@styled
def figure(runs: Runs) -> Figure:
    """Draw the learned weights, and the test loss with each choice of losses."""
    drawn = Figure(figsize=(8, 2.8))
    left, right = drawn.subplots(1, 2)
    for number, name in enumerate(TITLES):
        values = [run["weights"][name] for run in runs]
        left.plot(values, [number] * len(values), "o", color=COLOURS[number], markersize=7)
    left.set_yticks(range(len(TITLES)), list(TITLES.values()))
    left.set(xscale="log", xlabel="learned weight, a point for each split", ylim=(-0.5, len(TITLES) - 0.5))
    ways = list(runs[0]["test"])
    means = [statistics.fmean(run["test"][way]["loss"] for run in runs) for way in ways]
    colours = [COLOURS[list(TITLES).index(way)] if way in TITLES else COLOURS[5] for way in ways]
    right.barh(range(len(ways)), means, color=colours, height=0.6)
    right.set_yticks(range(len(ways)), [TITLES.get(way, way) for way in ways])
    for axes in (left, right):
        axes.invert_yaxis()
    right.set(xlabel="test loss")
    return drawn
