"""What learners lose where tests are not like training: other shots, noise, blur, and tampered queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from quickstudy import batching
from quickstudy.console import Tick
from quickstudy.core import Examples, Learner, Task, prediction_loss
from quickstudy.evaluation import chunk_size, evaluate, interval95, task_keys
from quickstudy.functional.adversarial import pgd
from quickstudy.plots import COLOURS, MARKERS, styled
from quickstudy.registry import register
from quickstudy.reproductions.row import Row
from quickstudy.tasks.augmentations import Blur, Noise
from quickstudy.tasks.base import Bank
from quickstudy.tasks.few_shot import FewShot

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "protonet": ("ProtoNet", {"steps": 600, "train_ways": 20, "lr": 1e-3}),
    "maml": ("MAML", {"steps": 2000}),
    "adml": ("ADML", {"steps": 2000}),
}
SHOTS, NOISE, BLUR, EPSILON = (1, 2, 5, 10), (0.0, 0.1, 0.2, 0.4), (0.0, 0.5, 1.0, 2.0), (0.0, 0.02, 0.05, 0.1)
PGD_STEPS = 10
TITLES = {
    "shots": "support rows a class",
    "noise": "noise, standard deviation",
    "blur": "blur, pixels",
    "fgsm": "tampered queries, one step (FGSM)",
    "pgd": f"tampered queries, {PGD_STEPS} steps (PGD)",
}


@register("reproduction", "robustness")
def robustness(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Accuracy under other shots, noise, blur and adversarial queries: ProtoNet, MAML and ADML.

    Args:
        folder: gets results.json, table.md, robustness.png and the trained runs.
        tick: told how many runs of how many are trained and tested.
        quick: two steps, few tasks.
        seeds: repetitions.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.assessment import open_run
    from quickstudy.reproductions.grid import QUICK, grid
    from quickstudy.reproductions.saving import save
    from quickstudy.reproductions.trained import place

    tasks, changes = (5, QUICK) if quick else (600, {})
    rows = {
        name: Row(name, f"omniglot-{name}", label, {**options, **changes}, tasks=tasks)
        for name, (label, options) in METHODS.items()
    }
    grid(rows, folder, tick, seeds=seeds, here=True if quick else None)
    found = {}
    for name, row in rows.items():
        runs = [open_run(place(row.make(seed, quick=False), row.varies, folder / name)) for seed in range(seeds)]
        each = [shifted(run.learner, run.test, tasks) for run in runs]  # type: ignore[arg-type]
        found[name] = {kind: _mean([one[kind] for one in each]) for kind in TITLES}
    save(folder, found, markdown(found), robustness=figure(found))
    return ["5-way accuracy, %", *markdown(found).splitlines()]


def shifted(learner: Learner, test: FewShot, tasks: int) -> dict[str, list[tuple[float, float, float]]]:
    """Return, for each kind of shift, its size, the mean accuracy and the half-width of its 95 % interval."""

    def of(size: float, **changes: Any) -> tuple[float, float, float]:
        options = {"ways": test.ways, "shots": test.shots, "queries": test.queries, "seed": test.seed, **changes}
        report = evaluate(learner, FewShot(test.data, **options), tasks, curve_steps=0)
        return size, report.mean, report.interval

    bank = test.bank(tasks)

    def tampered(epsilon: float, steps: int) -> tuple[float, float, float]:
        values = under_attack(learner, bank, epsilon, steps)
        return epsilon, float(values.mean()), interval95(values.numpy())

    return {
        "shots": [of(float(shots), shots=shots) for shots in SHOTS],
        "noise": [of(std, augment=Noise(std) if std else None) for std in NOISE],
        "blur": [of(sigma, augment=Blur(sigma) if sigma else None) for sigma in BLUR],
        "fgsm": [tampered(epsilon, 1) for epsilon in EPSILON],
        "pgd": [tampered(epsilon, PGD_STEPS) for epsilon in EPSILON],
    }


@torch.no_grad()
def under_attack(learner: Learner, bank: Bank, epsilon: float, steps: int) -> Tensor:
    """Return (T,) accuracies on queries that were moved within epsilon of each pixel against the adapted learner."""
    device = next(learner.parameters()).device
    bank.to(device)

    def one(state: Any, query: Examples) -> Tensor:
        def loss(points: list[Tensor]) -> Tensor:
            moved = Examples(points[0], query.labels, query.mask, query.ways, check=False)
            return prediction_loss(learner.predict(state, moved.inputs), moved)

        size = epsilon if steps == 1 else None
        (moved,) = pgd(loss, [query.inputs], epsilon, steps, size, limits=(0.0, 1.0)) if epsilon else (query.inputs,)
        right = (learner.predict(state, moved).argmax(1) == query.labels).double()
        weights = torch.ones_like(right) if query.mask is None else query.mask.double()
        share: Tensor = (right * weights).sum() / weights.sum()
        return share

    found = []
    for indices in torch.split(torch.arange(len(bank)), chunk_size(bank)):
        batch: Task = bank.draw(indices)
        states = batching.adapt(learner, batch.support, task_keys(indices, bank.seed, device))
        found.append(batching.map_tasks(one, states, batch.query))
    return torch.cat(found).cpu()


def _mean(parts: list[list[tuple[float, float, float]]]) -> list[list[float]]:
    """Return the mean over repetitions of each size, accuracy and interval."""
    return torch.tensor(parts, dtype=torch.float64).mean(0).tolist()


def markdown(found: Mapping[str, Any]) -> str:
    """Return accuracies in per cent."""
    lines = ["| | size | " + " | ".join(METHODS[name][0] for name in found) + " |", "|---|" + "---|" * (len(found) + 1)]
    for kind, title in TITLES.items():
        for i, (size, *_) in enumerate(next(iter(found.values()))[kind]):
            cells = [f"{100 * each[kind][i][1]:.1f} ± {100 * each[kind][i][2]:.1f}" for each in found.values()]
            lines.append(f"| {title if i == 0 else ''} | {size:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@styled
def figure(found: Mapping[str, Any]) -> Figure:
    """Draw accuracy by the size of each shift."""
    drawn = Figure(figsize=(12, 2.8))
    for i, (kind, title) in enumerate(TITLES.items()):
        axes: Any = drawn.add_subplot(1, len(TITLES), i + 1)
        for j, (name, each) in enumerate(found.items()):
            sizes, means = [point[0] for point in each[kind]], [point[1] for point in each[kind]]
            axes.plot(sizes, means, color=COLOURS[j], marker=MARKERS[j], label=METHODS[name][0])
        axes.set_title(title, loc="left", fontsize=8)
        axes.set_ylim(0, 1)
        if i == 0:
            axes.legend(fontsize=8)
    return drawn
