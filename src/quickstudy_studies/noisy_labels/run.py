"""One run of Meta-Weight-Net on digits, beside plain training on the same rows, on the clean rows and on right labels.

The problem is the recipe `digits-noisy-labels`. Each run splits scikit-learn's 1,797 digits anew, into rows that share
nothing: 600 to train on, 100 clean and balanced ones, and the others to test on. Rates and numbers of steps were chosen
on split 0, which is none of those reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from quickstudy import batching, rules
from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.learners import L2O, MetaWeightNet
from quickstudy.recipes.learned_data import DigitsNoisyLabels
from quickstudy.tasks import Restarts

LOSSES = [i / 10 for i in range(61)]


@dataclass(frozen=True)
class Settings:
    """Settings of the inner and the outer loop."""

    steps: int = 1000
    batch: int = 50
    lr: float = 1.0
    outer_steps: int = 1500
    outer_lr: float = 1e-3
    meta_batch: int = 4


def recipe(seed: int, settings: Settings) -> DigitsNoisyLabels:
    """Return the recipe of one run."""
    return DigitsNoisyLabels(
        split=seed,
        seed=seed,
        inner_steps=settings.steps,
        batch=settings.batch,
        inner_lr=settings.lr,
        steps=settings.outer_steps,
        lr=settings.outer_lr,
        meta_batch=settings.meta_batch,
    )


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and the learned weights, as JSON."""
    made = recipe(seed, settings)
    rows, net = made.rows(), made.net()

    def accuracy(learner: L2O, support: Examples) -> tuple[float, list[float]]:
        task = batching.select(Restarts(net, support, rows.test, seed=seed).batch(0, 1), 0)
        with torch.no_grad():
            state = learner.adapt(task.support, random.fold_in(random.key(seed), 4))
            right = learner.predict(state, task.query.inputs).argmax(1) == task.query.labels
            weights = learner.weights(state, task.support).tolist() if isinstance(learner, MetaWeightNet) else []
        return float(right.float().mean()), weights

    plain = L2O(rules.SGD(settings.lr), settings.steps, settings.batch)
    learner = made.train(None, progress=False).learner
    assert isinstance(learner, MetaWeightNet)
    learned, weights = accuracy(learner, rows.train)
    losses = torch.tensor(LOSSES)
    return {
        "seed": seed,
        "rows": len(rows.train),
        "test_rows": len(rows.test),
        "accuracy": {
            "plain": accuracy(plain, rows.train)[0],
            "clean": accuracy(plain, rows.clean)[0],
            "learned": learned,
            "ceiling": accuracy(plain, rows.truth)[0],
        },
        "weights": weights,
        "wrong": rows.wrong.tolist(),
        "curve": learner.weigh(losses, losses).tolist(),
    }
