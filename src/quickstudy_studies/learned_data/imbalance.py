"""Two classes, one 50 times as frequent: learned weights beside plain training and inverse frequencies.

Ren et al. 2018, "Learning to Reweight Examples for Robust Deep Learning", section 4.1, with digits of 8 x 8: even or
odd, 700 even ones and 14 odd ones; ten of each are the small balanced set. Nets are small and trained briefly: one that
fits all rows perfectly hardly cares how they are weighed. Rates and numbers of steps were chosen on split 0, which is
none of those reported.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from quickstudy import nets, rules
from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.learners import L2O, MetaWeightNet
from quickstudy.outer import Truncated
from quickstudy.recipes.learned_data import digits, ranks
from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy.tasks import Restarts
from quickstudy.training.starting import meta_train
from quickstudy_studies.shared.learned_rows import Runs, accuracy, mean, table, told, trained

COMMON, RARE, CLEAN, TEST = 700, 14, 10, 150
"""Training rows of the two classes; balanced rows and test rows of each."""
WAYS = {
    "plain": "plain training",
    "clean": "the balanced rows alone",
    "inverse": "inverse frequencies as weights",
    "loss": "learned: weight from the loss (`LossWeights`)",
    "class": "learned: a weight for each class",
    "rows": "learned: a weight for each row",
    "even": "as many rows, half of each class",
}
RATIOS = (1.0, 10.0, 50.0, 200.0, 1000.0)
LOSSES = [i / 10 for i in range(41)]


@dataclass(frozen=True)
class Settings:
    """Settings of the inner and the outer loop."""

    steps: int = 300
    lr: float = 0.3
    outer_steps: int = 600
    outer_lr: float = 0.05
    loss_lr: float = 0.003
    """Outer rate for the net from losses to weights."""
    meta_batch: int = 4


QUICK = Settings(steps=5, outer_steps=4)


@dataclass(frozen=True)
class Split:
    """Rows of one run, of which none is in two parts but for `train` and `even`."""

    train: Examples
    clean: Examples
    even: Examples
    test: Examples


def split(seed: int) -> Split:
    """Return the rows of one run: label 0 for even digits, the frequent ones, and 1 for odd ones."""
    inputs, numbers = digits(random.key(seed))
    labels = numbers % 2
    rank = ranks(labels)
    half = (COMMON + RARE) // 2
    taken = (
        (rank >= CLEAN + TEST) & (rank < CLEAN + TEST + torch.tensor([COMMON, RARE])[labels]),
        rank < CLEAN,
        (rank >= CLEAN + TEST) & (rank < CLEAN + TEST + half),
        (rank >= CLEAN) & (rank < CLEAN + TEST),
    )
    return Split(*(Examples(inputs[rows], labels[rows], ways=2) for rows in taken))


def weighed(rows: Examples, ratio: float) -> nets.RowWeights:
    """Return weights of which those of the rare class are so many times those of the frequent one."""
    weigh = nets.RowWeights(len(rows), rows.labels.tolist())
    share = math.log(ratio) / 2
    # Both far from 1, where logistic weights are as their logits' exponentials.
    weigh.logits.data = torch.tensor([-share, share]) - 8
    return weigh


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and the learned weights, as JSON."""
    rows, net, rule = split(seed), nets.mlp(64, (32,), 2), rules.SGD(settings.lr)
    plain = L2O(rule, settings.steps)

    def judged(learner: L2O, support: Examples) -> tuple[float, float]:
        _, shares = trained(net, learner, support, rows.test, seed=seed)
        right = (shares.argmax(-1) == rows.test.labels).float().mean(0)
        return float(right.mean()), float(right[rows.test.labels == 1].mean())

    def learned(weigh: nn.Module, lr: float) -> MetaWeightNet:
        torch.manual_seed(seed)
        learner = MetaWeightNet(weigh, rule, settings.steps)
        tasks = Restarts(net, rows.train, rows.clean, seed=1000 + seed)
        outer = Truncated(length=1, lr=lr)
        meta_train(
            learner, tasks, outer, steps=settings.outer_steps, meta_batch=settings.meta_batch, seed=seed, progress=False
        )
        return learner

    torch.manual_seed(seed)
    labels = rows.train.labels.tolist()
    learners = {
        "inverse": MetaWeightNet(weighed(rows.train, COMMON / RARE), rule, settings.steps),
        "loss": learned(nets.LossWeights(), settings.loss_lr),
        "class": learned(nets.RowWeights(len(labels), labels), settings.outer_lr),
        "rows": learned(nets.RowWeights(len(labels)), settings.outer_lr),
    }
    found = {"plain": judged(plain, rows.train), "clean": judged(plain, rows.clean), "even": judged(plain, rows.even)}
    found |= {name: judged(learner, rows.train) for name, learner in learners.items()}
    sweep = [MetaWeightNet(weighed(rows.train, ratio), rule, settings.steps) for ratio in RATIOS]
    losses = torch.tensor(LOSSES)
    return {
        "seed": seed,
        "accuracy": {name: found[name][0] for name in WAYS},
        "rare": {name: found[name][1] for name in WAYS},
        "weights": {name: _weights(learners[name], rows.train) for name in ("class", "rows")},
        "sweep": [accuracy(net, learner, rows.train, rows.test, seed=seed) for learner in sweep],
        "curve": learners["loss"].weigh(losses, losses).tolist(),
    }


def _weights(learner: MetaWeightNet, rows: Examples) -> list[list[float]]:
    """Return the learned weights of the rows of either class, of the largest."""
    numbers = torch.arange(len(rows))
    weights: Tensor = learner.weigh(numbers, numbers).detach()
    return [(weights[rows.labels == label] / weights.max()).tolist() for label in (0, 1)]


def ratio(run: dict[str, Any], way: str) -> float:
    """Return how many times the weight of the frequent class a row of the rare one has, on average."""
    common, rare = run["weights"][way]
    return statistics.fmean(rare) / statistics.fmean(common)


def markdown(runs: Runs) -> str:
    """Return the table of accuracies on balanced test rows, and on the rare class."""
    head, line, *rest = table(runs, WAYS).splitlines()
    rare = [statistics.fmean(100 * each["rare"][way] for each in runs) for way in WAYS]
    shown = [f"{text} {value:.1f} |" for text, value in zip(rest, rare, strict=True)]
    return "\n".join([f"{head} rare class, mean |", f"{line}---|", *shown])


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    ratios = {way: ", ".join(f"{ratio(each, way):.0f}" for each in runs) for way in ("class", "rows")}
    best = max(range(len(RATIOS)), key=lambda i: statistics.fmean(each["sweep"][i] for each in runs))
    found = statistics.fmean(each["sweep"][best] for each in runs)
    return [
        told(runs, WAYS),
        f"Weight of a rare row in weights of a frequent one: {ratios['class']} (classes), {ratios['rows']} (rows)",
        f"Best of fixed ratios {', '.join(f'{r:.0f}' for r in RATIOS)}: {RATIOS[best]:.0f}, {100 * found:.1f} %",
    ]


@styled
def figure(runs: Runs) -> Figure:
    """Draw accuracies by ratio, the weights that rows get, and the weight for each loss."""
    drawn = Figure(figsize=(10, 3.2))
    left, middle, right = drawn.subplots(1, 3)
    for each in runs:
        left.plot(RATIOS, each["sweep"], color=GREY, marker="o", markersize=3, linewidth=1)
    left.plot(
        [ratio(each, "class") for each in runs],
        [each["accuracy"]["class"] for each in runs],
        "D",
        color=COLOURS[1],
        label=f"learned, {100 * mean(runs, 'class'):.0f} %",
    )
    left.axvline(COMMON / RARE, color=COLOURS[0], linestyle=":", label="inverse frequency")
    left.set(xscale="log", xlabel="weight of a rare row / a frequent one", ylabel="test accuracy")
    left.legend(fontsize=8)
    for number, name in enumerate(("frequent", "rare")):
        values = [value for each in runs for value in each["weights"]["rows"][number]]
        middle.hist(values, bins=30, range=(0, 1), color=COLOURS[number], alpha=0.7, label=name)
    middle.set(title="a weight for each row", xlabel="learned weight, of the largest", ylabel="rows", yscale="log")
    middle.legend()
    for each in runs:
        right.plot(LOSSES, each["curve"], color=COLOURS[2])
    right.set(title="a weight from the loss", xlabel="loss of a row", ylabel="its weight")
    return drawn
