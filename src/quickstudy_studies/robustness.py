"""Accuracy in tests that are unlike training: other ways and shots, noise, blur, and tampered queries."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, prediction_loss
from quickstudy.evaluation import predictions
from quickstudy.functional.adversarial import pgd
from quickstudy.inner.loop import GradientLearner
from quickstudy.reports.assessment import OpenedRun
from quickstudy.reports.plots import COLOURS, MARKERS, styled
from quickstudy.tasks.augmentations import Blur, Noise
from quickstudy.tasks.base import Bank
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy_studies.driver import Plan, Study, of_grid
from quickstudy_studies.shared.grid import QUICK, Grid, Values, bars, figures, logarithmic, metrics, percent, recipe

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    # As when the page was measured.
    "protonet": ("ProtoNet", {"steps": 600, "optimizer": "adam", "lr": 1e-3, "warp": 0.0}),
    "maml": ("MAML", {"steps": 2000}),
    "adml": ("ADML", {"steps": 2000}),
}
"""Labels, and options: outer steps for about two minutes on a free core."""
SIZES: dict[str, tuple[float, ...]] = {
    "ways": (2, 3, 5, 10, 20),
    "shots": (1, 2, 5, 10),
    "noise": (0, 0.1, 0.2, 0.4),
    "blur": (0, 0.5, 1, 2),
    "fgsm": (0, 0.02, 0.05, 0.1),
    "pgd": (0, 0.02, 0.05, 0.1),
}
"""Of each kind of shift; methods whose net has an output for each class are tested with as many ways as it has."""
AUGMENTS: dict[str, Any] = {"noise": Noise, "blur": Blur}
PGD_STEPS = 10
TITLES = {
    "ways": "classes a task",
    "shots": "support rows a class",
    "noise": "noise, standard deviation",
    "blur": "blur, pixels",
    "fgsm": "tampered queries (FGSM)",
    "pgd": f"tampered, {PGD_STEPS} steps (PGD)",
}
UNITS = {"noise": "of pixels from 0 to 1", "blur": "standard deviation", "fgsm": "epsilon", "pgd": "epsilon"}


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Accuracy under other ways and shots, noise, blur and adversarial queries: ProtoNet, MAML and ADML.

    Args:
        folder: gets results.json, table.md, robustness.png and the trained runs.
        quick: two steps, few tasks.
        seeds: repetitions.
    """
    recipes = {
        name: recipe(f"omniglot-{name}", **{**options, "queries": 5, **(QUICK if quick else {})})
        for name, (_, options) in METHODS.items()
    }
    asked = {"tasks": 5, "few": 5} if quick else {"tasks": 600, "few": 600}
    return of_grid(Grid(recipes, folder, look, seeds, asked), quick, figures)


def look(run: OpenedRun, tasks: int, few: int) -> dict[str, Values]:
    """Return the accuracy on each task under each shift, and on fewer tasks under attack, by its kind and size."""
    test: FewShot = run.test  # type: ignore[assignment]
    outputs = run.recipe.train_ways if isinstance(run.learner, GradientLearner) else max(SIZES["ways"])  # type: ignore[attr-defined]

    def of(**changes: Any) -> Values:
        options = {"ways": test.ways, "shots": test.shots, "queries": test.queries, "seed": test.seed, **changes}
        return metrics(run.learner, FewShot(test.data, **options), tasks).tolist()  # type: ignore[no-any-return]

    def at(kind: str, size: float) -> Values:
        if kind == "ways":
            return of(ways=size)
        if kind == "shots":
            return of(shots=size) if size > 1 else plain
        if kind in AUGMENTS:
            return of(augment=AUGMENTS[kind](size)) if size else plain
        steps = 1 if kind == "fgsm" else PGD_STEPS
        return under_attack(run.learner, bank, size, steps).tolist() if size else plain[:few]

    plain, bank = of(), test.bank(few)
    return {
        _name(kind, size): at(kind, size)
        for kind, sizes in SIZES.items()
        for size in sizes
        if kind != "ways" or size <= outputs
    }


def _name(kind: str, size: float) -> str:
    return f"{kind} {size:g}"


@torch.no_grad()
def under_attack(learner: Learner, bank: Bank, epsilon: float, steps: int) -> Tensor:
    """Return (T,) accuracies on queries that were moved within epsilon of each pixel against the adapted learner."""

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
    with closing(predictions(learner, bank, len(bank))) as predicted:
        for each in predicted:
            found.append(batching.map_tasks(one, each.states, each.tasks.query))
    return torch.cat(found).cpu()


def markdown(found: Mapping[str, Any]) -> str:
    """Return accuracies in per cent."""
    lines = ["| | size | " + " | ".join(METHODS[name][0] for name in found) + " |", "|---|" + "---|" * (len(found) + 1)]
    for kind, title in TITLES.items():
        for i, size in enumerate(SIZES[kind]):
            parts = [each.get(_name(kind, size)) for each in found.values()]
            cells = ["" if part is None else percent(part) for part in parts]
            lines.append(f"| {title if i == 0 else ''} | {size:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@styled
def figure(found: Mapping[str, Any]) -> Figure:
    """Draw accuracy by the size of each shift."""
    drawn = Figure(figsize=(9, 5))
    for i, (kind, title) in enumerate(TITLES.items()):
        axes: Any = drawn.add_subplot(2, 3, i + 1)
        for j, (name, each) in enumerate(found.items()):
            points = {size: each[_name(kind, size)] for size in SIZES[kind] if _name(kind, size) in each}
            bars(axes, list(points), list(points.values()), color=COLOURS[j], marker=MARKERS[j], label=METHODS[name][0])
        axes.set_title(title, loc="left")
        axes.set_ylim(0, 100)
        if kind in UNITS:
            axes.set_xlabel(UNITS[kind])
        else:
            logarithmic(axes, SIZES[kind])
        if i % 3 == 0:
            axes.set_ylabel("accuracy, %")
        if i == 0:
            axes.legend(fontsize=8)
    return drawn


def summary(found: Mapping[str, Any]) -> list[str]:
    """Return the table, and what its figures are."""
    return ["5-way 1-shot accuracy where nothing else is said, %", *markdown(found).splitlines()]


robustness = Study("robustness", plan, markdown, summary, {"robustness": figure}, seeds=1)
