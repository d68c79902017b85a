"""Ten synthetic digits that train a net in ten steps, beside ten real ones, means, centres, and all rows.

Wang et al. 2018, "Dataset Distillation", sections 4.1 and 4.2, with digits of 8 x 8: 1,000 rows are distilled, the
other 797 are for tests (recipe `digits-distillation`). Rates were chosen on split 0, which is none of those reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure

from quickstudy import batching, rules
from quickstudy.core import Examples, Task
from quickstudy.learners import L2O, DatasetDistillation
from quickstudy.recipes.learned_data import DigitsDistillation, ranks
from quickstudy.reports.plots import styled
from quickstudy.tasks import OneTask, Restarts
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.starting import meta_train
from quickstudy_studies.shared.learned_rows import Runs, accuracy, table, told

KINDS = {
    "real": "ten real digits, one of each",
    "means": "means of the ten classes",
    "centres": "ten centres of k-means, begun at the means",
    "all": "all 1,000 rows",
}
WAYS = {
    "distilled": "ten synthetic digits, its own steps",
    "fixed": "the same, learned for one beginning, at that one",
    "other": "the same, at other beginnings",
    **{name: f"{text}, as many steps" for name, text in KINDS.items()},
    "distilled, long": "ten synthetic digits, long",
    **{f"{name}, long": f"{text}, long" for name, text in KINDS.items()},
}
RATES = (0.1, 0.3, 1.0, 3.0)
SHOWN = ("distilled", "fixed", "real", "means", "centres")


@dataclass(frozen=True)
class Settings:
    """Settings of the inner and the outer loop, and of the comparison."""

    steps: int = 10
    lr: float = 0.3
    scale: float = 0.3
    outer_steps: int = 800
    outer_lr: float = 0.02
    rates: float = 0.5
    """Outer rate for the logarithms of inner rates."""
    meta_batch: int = 4
    long: int = 1000
    starts: int = 10


QUICK = Settings(outer_steps=3, long=3, starts=2)


def small_sets(rows: Examples) -> dict[str, Examples]:
    """Return what else a net may be trained on."""
    from sklearn.cluster import KMeans

    first = ranks(rows.labels) == 0
    means = torch.stack([rows.inputs[rows.labels == digit].mean(0) for digit in range(10)])
    # From the means, so that each centre has a label; else two may come to lie on one digit, and none on another.
    centres = torch.tensor(KMeans(10, init=means.numpy(), n_init=1).fit(rows.inputs.numpy()).cluster_centers_)
    return {
        "real": Examples(rows.inputs[first], rows.labels[first], ways=10),
        "means": Examples(means, torch.arange(10), ways=10),
        "centres": Examples(centres, torch.arange(10), ways=10),
        "all": rows,
    }


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """Return accuracies on the test rows, and the synthetic digits, as JSON."""
    recipe = DigitsDistillation(
        split=seed,
        seed=seed,
        inner_steps=settings.steps,
        inner_lr=settings.lr,
        scale=settings.scale,
        steps=settings.outer_steps,
        lr=settings.outer_lr,
        rates=settings.rates,
        meta_batch=settings.meta_batch,
    )
    train, _, test = recipe.parts()
    net, steps, starts = recipe.net(), settings.steps, settings.starts
    restarts = recipe.plan().train

    def distil(tasks: TaskDistribution) -> DatasetDistillation:
        plan, batch = recipe.plan(), settings.meta_batch if tasks is restarts else 1
        meta_train(plan.learner, tasks, plan.outer, None, recipe.steps, batch, seed=seed, progress=False)
        assert isinstance(plan.learner, DatasetDistillation)
        return plan.learner

    one = batching.select(restarts.batch(0, 1), 0)
    learners = {"distilled": distil(restarts), "fixed": distil(OneTask(one))}
    asked = batching.select(Restarts(net, train, test).batch(0, 1), 0).query
    found = {
        "distilled": accuracy(net, learners["distilled"], train, test, starts, seed),
        "other": accuracy(net, learners["fixed"], train, test, starts, seed),
        "fixed": _at(learners["fixed"], Task(one.support, asked)),
    }
    sets = small_sets(train)
    for name, rows in sets.items():
        # The rate that does best on all training rows.
        tried = [L2O(rules.SGD(lr), steps) for lr in RATES]
        best = max(tried, key=lambda learner: accuracy(net, learner, rows, train, starts, seed))
        found[name] = accuracy(net, best, rows, test, starts, seed)
    synthetic = {name: learner.inputs.detach() for name, learner in learners.items()}
    for name, rows in {"distilled": Examples(synthetic["distilled"], torch.arange(10), ways=10), **sets}.items():
        long = L2O(rules.SGD(0.3), settings.long, batch=100 if len(rows) > 100 else None)
        found[f"{name}, long"] = accuracy(net, long, rows, test, starts, seed)
    images = {**synthetic, **{name: sets[name].inputs[sets[name].labels.argsort()] for name in SHOWN[2:]}}
    return {
        "seed": seed,
        "accuracy": found,
        "rates": learners["distilled"].rule.log_rates.exp().tolist(),  # type: ignore[operator]
        "images": {name: images[name].tolist() for name in SHOWN},
    }


def _at(learner: L2O, task: Task) -> float:
    with torch.no_grad():
        state = learner.adapt(task.support)
        right = learner.predict(state, task.query.inputs).argmax(1) == task.query.labels
    return float(right.float().mean())


def markdown(runs: Runs) -> str:
    """Return the table of accuracies on test rows."""
    return table(runs, WAYS)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a line."""
    return [told(runs, WAYS)]


@styled
def figure(runs: Runs) -> Figure:
    """Draw the digits of the first run."""
    drawn = Figure(figsize=(8, 4.4))
    names = {"distilled": "synthetic, any\nbeginning", "fixed": "synthetic, one\nbeginning"}
    names |= {"real": "real", "means": "means", "centres": "centres"}
    for row, axes in zip(SHOWN, drawn.subplots(len(SHOWN), 10), strict=True):
        for column, image in zip(axes, runs[0]["images"][row], strict=True):
            column.imshow(torch.tensor(image).reshape(8, 8).numpy(), cmap="gray_r")
            column.set(xticks=[], yticks=[])
            column.grid(visible=False)
        axes[0].set_ylabel(names[row], rotation=0, ha="right", va="center")
    return drawn
