"""Upright digits to train on, queries turned by up to 30 degrees: does the learned range of rotation become 30?

The 600 training rows are as they are; 200 other rows, turned four times each, are the query that ranges are learned by;
the other 997, turned, are for tests. Angles are uniform in +-30 degrees. Rates and numbers of steps were chosen on
split 0, which is none of those reported.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from quickstudy import nets, rules
from quickstudy.core import Examples, Learner, Task
from quickstudy.functional import random
from quickstudy.learners import L2O, LearnedAugmentation
from quickstudy.nets.augmentations import affine
from quickstudy.outer import Truncated
from quickstudy.plots import COLOURS, GREY, styled
from quickstudy.ranks import ALONE, Ranks
from quickstudy.reproductions.learned_rows import Runs, accuracy, digits, table, told
from quickstudy.task_losses import TaskLosses
from quickstudy.tasks import Restarts
from quickstudy.training import meta_train

TRUE, TRAIN, QUERY, COPIES = 30.0, 600, 200, 4
BEGIN = {"rotation": 10.0, "shift": 0.02, "scale": 0.05, "noise": 0.05}
NOTHING = 1e-6
WAYS = {
    "none": "upright rows as they are",
    "learned": "learned ranges",
    "rotation": "rotation alone, as learned",
    "true": "rotation alone, the true range",
    "turned": "the same rows, turned once like the tests",
}
RANGES = (15.0, 30.0, 45.0, 60.0)


@dataclass(frozen=True)
class Settings:
    """Of the inner and the outer loop."""

    steps: int = 1000
    batch: int = 50
    lr: float = 0.01
    outer_steps: int = 1000
    outer_lr: float = 0.02
    meta_batch: int = 4


QUICK = Settings(steps=5, outer_steps=4)


class Noting(Truncated):
    """Notes the ranges before each outer step."""

    noted: list[dict[str, float]]

    def estimate(self, losses: TaskLosses, learner: Learner, tasks: Task, keys: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """Note the ranges, and go on."""
        self.noted.append(learner.augment.ranges())  # type: ignore[operator,union-attr]
        return super().estimate(losses, learner, tasks, keys, ranks)


def turned(inputs: Tensor, labels: Tensor, key: Tensor, copies: int = 1) -> Examples:
    """Return rows (S, 8, 8) so many times, each turned by an angle of its own."""
    inputs = inputs.repeat(copies, 1, 1)
    angles = TRUE * (2 * random.uniform(key, len(inputs)) - 1)
    changed = affine(inputs, angles, torch.zeros(len(inputs), 2), torch.ones(len(inputs)))
    return Examples(changed, labels.repeat(copies), ways=10)


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and how ranges were learned, as JSON."""
    key = random.key(seed)
    inputs, labels = digits(key)
    inputs = inputs.reshape(-1, 8, 8)
    ends = (TRAIN, TRAIN + QUERY)
    train = Examples(inputs[: ends[0]], labels[: ends[0]], ways=10)
    query = turned(inputs[slice(*ends)], labels[slice(*ends)], random.fold_in(key, 2), COPIES)
    test = turned(inputs[ends[1] :], labels[ends[1] :], random.fold_in(key, 3))
    net: nn.Module = nets.mlp(64, (32,), 10)
    rule = rules.Adam(settings.lr)

    def augmented(rotation: float, shift: float = NOTHING, scale: float = NOTHING, noise: float = NOTHING) -> L2O:
        augment = nets.Augmentations([nets.Affine(rotation, shift, scale), nets.Jitter(noise)])
        return LearnedAugmentation(augment, rule, settings.steps, settings.batch)

    learner = augmented(**BEGIN)
    outer = Noting(length=1, lr=settings.outer_lr, schedule="cosine")
    outer.noted = []
    meta_train(
        learner,
        Restarts(net, train, query, seed=1000 + seed),
        outer,
        steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        seed=seed,
        progress=False,
    )
    ranges: dict[str, float] = learner.augment.ranges()  # type: ignore[operator,union-attr]
    plain = L2O(rule, settings.steps, settings.batch)
    judged = {
        "none": (plain, train),
        "learned": (learner, train),
        "rotation": (augmented(ranges["rotation"]), train),
        "true": (augmented(TRUE), train),
        "turned": (plain, turned(train.inputs, train.labels, random.fold_in(key, 4))),
    }
    return {
        "seed": seed,
        "test_rows": len(test),
        "accuracy": {way: accuracy(net, by, rows, test, seed=seed) for way, (by, rows) in judged.items()},
        "sweep": [accuracy(net, augmented(each), train, test, seed=seed) for each in RANGES],
        "ranges": ranges,
        "path": outer.noted[:: max(1, settings.outer_steps // 100)],
    }


def markdown(runs: Runs) -> str:
    """Return the tables of accuracies and of learned ranges."""
    lines = ["| range | at the beginning | learned, mean | lowest | highest |", "|---|---|---|---|---|"]
    for name, begun in BEGIN.items():
        values = [each["ranges"][name] for each in runs]
        digits = 1 if name == "rotation" else 3
        cells = (begun, statistics.fmean(values), min(values), max(values))
        lines.append(f"| {name} | " + " | ".join(f"{cell:.{digits}f}" for cell in cells) + " |")
    return table(runs, WAYS) + "\n\n" + "\n".join(lines)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    found = {name: ", ".join(f"{each['ranges'][name]:.3g}" for each in runs) for name in BEGIN}
    return [told(runs, WAYS), "Learned ranges: " + "; ".join(f"{name} {values}" for name, values in found.items())]


@styled
def figure(runs: Runs) -> Figure:
    """Draw how ranges were learned, and test accuracy by range of rotation."""
    drawn = Figure(figsize=(10, 3.2))
    left, middle, right = drawn.subplots(1, 3)
    for each in runs:
        left.plot([noted["rotation"] for noted in each["path"]], color=COLOURS[1])
        for number, name in enumerate(("shift", "scale", "noise")):
            label = name if each is runs[0] else None
            middle.plot([noted[name] for noted in each["path"]], color=COLOURS[2 + number], label=label)
        swept = [each["accuracy"]["none"], *each["sweep"]]
        right.plot([0, *RANGES], swept, color=GREY, marker="o", markersize=3, linewidth=1)
        right.plot([each["ranges"]["rotation"]], [each["accuracy"]["learned"]], "D", color=COLOURS[1])
    left.axhline(TRUE, color=COLOURS[0], linestyle=":", label="of the query")
    left.set(title="range of rotation, degrees", xlabel="outer steps, %", ylim=(0, 45))
    left.legend()
    middle.set(title="other ranges", xlabel="outer steps, %", ylim=(0, None))
    middle.legend()
    right.axvline(TRUE, color=COLOURS[0], linestyle=":")
    right.set(title="fixed ranges, and learned ones", xlabel="range of rotation, degrees", ylabel="test accuracy")
    return drawn
