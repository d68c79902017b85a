"""One run of Meta-Weight-Net on digits, beside plain training on the same rows, on the clean rows and on right labels.

Each run splits scikit-learn's 1,797 digits anew, into rows that share nothing: 600 to train on, 100 clean and balanced
ones, and the others to test on. Rates and numbers of steps were chosen on split 0, which is none of those reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy import batching, learners, nets, rules
from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.learners import L2O, MetaWeightNet
from quickstudy.outer import Truncated
from quickstudy.reproductions.learned_rows import digits, ranks
from quickstudy.tasks import Restarts
from quickstudy.training import meta_train

WRONG = 0.4
"""Share of rows whose label is another class, each other class alike."""
CLEAN_SHOTS, ROWS = 10, 600
LOSSES = [i / 10 for i in range(61)]


@dataclass(frozen=True)
class Settings:
    """Of the inner and the outer loop."""

    steps: int = 1000
    batch: int = 50
    lr: float = 1.0
    outer_steps: int = 1500
    outer_lr: float = 1e-3
    meta_batch: int = 4


@dataclass(frozen=True)
class Split:
    """Rows of one run."""

    train: Examples
    truth: Examples
    """The same rows with their right labels."""
    clean: Examples
    test: Examples
    wrong: Tensor
    """(S,) rows of `train` with a wrong label."""


def split(seed: int) -> Split:
    """Return the rows of one run."""
    key = random.key(seed)
    inputs, labels = digits(random.fold_in(key, 1))
    places, few = torch.arange(len(labels)), ranks(labels) < CLEAN_SHOTS
    clean, rest = places[few], places[~few]
    train, test = rest[:ROWS], rest[ROWS:]
    wrong = random.uniform(random.fold_in(key, 2), ROWS) < WRONG
    other = (labels[train] + 1 + random.below(random.fold_in(key, 3), 9, ROWS)) % 10
    shown = torch.where(wrong, other, labels[train])
    pairs = [(train, shown), (train, labels[train]), (clean, labels[clean]), (test, labels[test])]
    parts = [Examples(inputs[rows], given, ways=10) for rows, given in pairs]
    return Split(parts[0], parts[1], parts[2], parts[3], wrong)


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and the learned weights, as JSON."""
    rows, net = split(seed), nets.mlp(64, (100,), 10)
    rule = rules.SGD(settings.lr)

    def accuracy(learner: L2O, support: Examples) -> tuple[float, list[float]]:
        task = batching.select(Restarts(net, support, rows.test, seed=seed).batch(0, 1), 0)
        with torch.no_grad():
            state = learner.adapt(task.support, random.fold_in(random.key(seed), 4))
            right = learner.predict(state, task.query.inputs).argmax(1) == task.query.labels
            weights = learner.weights(state, task.support).tolist() if isinstance(learner, MetaWeightNet) else []
        return float(right.float().mean()), weights

    plain = learners.L2O(rule, settings.steps, settings.batch)
    torch.manual_seed(seed)
    learner = MetaWeightNet(nets.LossWeights(), rule, settings.steps, settings.batch)
    meta_train(
        learner,
        Restarts(net, rows.train, rows.clean, seed=1000 + seed),
        Truncated(length=1, lr=settings.outer_lr),
        steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        seed=seed,
        progress=False,
    )
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
