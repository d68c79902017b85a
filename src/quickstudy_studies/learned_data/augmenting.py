"""Upright digits to train on, queries turned by up to 30 degrees: does the learned range of rotation become 30?

The problem is the recipe `digits-augmentation`: the 600 training rows are as they are; 200 other rows, turned four
times each, are the query that ranges are learned by; the other 997, turned, are for tests. Angles are uniform in +-30
degrees. Rates and numbers of steps were chosen on split 0, which is none of those reported.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from quickstudy import rules
from quickstudy.core import Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.learners import L2O, LearnedAugmentation
from quickstudy.outer import Truncated
from quickstudy.recipes.learned_data import DigitsAugmentation
from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy.training.starting import meta_train
from quickstudy_studies.shared.learned_rows import Runs, accuracy, table, told

TRUE = DigitsAugmentation.degrees
BEGIN = {name: getattr(DigitsAugmentation, name) for name in ("rotation", "shift", "scale", "noise")}
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
    """Settings of the inner and the outer loop."""

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

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Note the ranges, and go on."""
        self.noted.append(meta_loss.learner.augment.ranges())  # type: ignore[operator,union-attr]
        return super().estimate(meta_loss, tasks, keys)


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and how ranges were learned, as JSON."""
    recipe = DigitsAugmentation(
        split=seed,
        seed=seed,
        inner_steps=settings.steps,
        batch=settings.batch,
        inner_lr=settings.lr,
        steps=settings.outer_steps,
        lr=settings.outer_lr,
        meta_batch=settings.meta_batch,
    )
    train, _, test = recipe.parts()
    plan, net = recipe.plan(), recipe.net()
    learner = plan.learner
    assert isinstance(learner, LearnedAugmentation)
    outer = Noting(length=1, lr=recipe.lr, schedule=recipe.schedule)
    outer.noted = []
    meta_train(learner, plan.train, outer, None, recipe.steps, recipe.meta_batch, seed=seed, progress=False)

    def rotated(degrees: float) -> LearnedAugmentation:
        return replace(recipe, rotation=degrees, shift=NOTHING, scale=NOTHING, noise=NOTHING).make_learner()

    ranges: dict[str, float] = learner.augment.ranges()  # type: ignore[operator]
    plain = L2O(rules.Adam(settings.lr), settings.steps, settings.batch)
    judged = {
        "none": (plain, train),
        "learned": (learner, train),
        "rotation": (rotated(ranges["rotation"]), train),
        "true": (rotated(TRUE), train),
        "turned": (plain, recipe.turned(train.inputs, train.labels, random.fold_in(random.key(seed), 4))),
    }
    return {
        "seed": seed,
        "test_rows": len(test),
        "accuracy": {way: accuracy(net, by, rows, test, seed=seed) for way, (by, rows) in judged.items()},
        "sweep": [accuracy(net, rotated(each), train, test, seed=seed) for each in RANGES],
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
