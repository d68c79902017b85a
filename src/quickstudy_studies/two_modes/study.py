"""Sinusoids and lines (Vuorio et al. 2019, table 2): MAML, a MAML for each mode, and MMAML, on the same tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.cli.console import Tick
from quickstudy.core import Examples, Learner
from quickstudy.evaluation import Report, evaluate, interval95
from quickstudy.functional import random
from quickstudy.learners import GradientLearner
from quickstudy.recipes.modes import ModesRecipe, TwoModesMAML, TwoModesMMAML
from quickstudy.registry import register
from quickstudy.tasks.synthetic.functions import MultiModal
from quickstudy_studies.two_modes.best import BestOfTwoModes

MODES = ("sine", "linear")
TASKS = 2000
"""Test tasks of each mode: so many because a few of them have much of the error."""
CHUNK = 100
"""Tasks at once: the posterior's grid is large."""


def recipes(seed: int = 0, **options: Any) -> dict[str, ModesRecipe]:
    """Return what is trained. The two of a MAML for each mode see together half as many tasks as each of the others."""
    shared: dict[str, Any] = {"seed": seed, **options}
    quarter = {**shared, "steps": max(1, options.get("steps", TwoModesMAML.steps) // 4)}
    singles = {f"maml-{mode}": TwoModesMAML(modes=(mode,), **quarter) for mode in MODES}
    return {"mmaml": TwoModesMMAML(**shared), "maml": TwoModesMAML(**shared), **singles}


def measured(trained: dict[str, Learner], shots: int, noise: float, count: int) -> dict[str, Any]:
    """Return each method's squared errors on the same tasks, both modes alike, as JSON."""
    tasks = {mode: MultiModal((mode,), shots, 100, noise).bank(count) for mode in MODES}
    best = BestOfTwoModes(noise)
    methods: dict[str, dict[str, Learner]] = {
        "maml": dict.fromkeys(MODES, trained["maml"]),
        "multi": {mode: trained[f"maml-{mode}"] for mode in MODES},
        "mmaml": dict.fromkeys(MODES, trained["mmaml"]),
        "best": dict.fromkeys(MODES, best),
    }
    return {
        name: _facts({mode: evaluate(learner, tasks[mode], count, chunk=CHUNK) for mode, learner in each.items()})
        for name, each in methods.items()
    }


def _facts(reports: dict[str, Report]) -> dict[str, Any]:
    """Return means, half-widths of 95 % intervals and errors by inner step."""
    both = np.concatenate([report.values for report in reports.values()])
    own = {mode: [report.mean, report.interval] for mode, report in reports.items()}
    curves = [report.curve for report in reports.values()]
    return {"mse": [float(both.mean()), interval95(both)], **own, "curve": np.mean(curves, 0).tolist()}


def same_points(shots: int, noise: float) -> dict[str, tuple[Examples, Tensor, Tensor]]:
    """Return a sinusoid and a line seen at the same points: support, and x and y of the whole function."""
    x, grid = torch.linspace(-4, 4, shots).unsqueeze(1), torch.linspace(-5, 5, 201).unsqueeze(1)
    drawn = noise * random.normal(random.key(0), shots, 1)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "sine": lambda x: 3 * torch.sin(x - 1),
        "linear": lambda x: 1 - 1.5 * x,
    }
    return {mode: (Examples(x, f(x) + drawn), grid, f(grid)) for mode, f in functions.items()}


def steps_of(learner: GradientLearner, support: Examples, grid: Tensor) -> list[list[float]]:
    """Return what a learner predicts on a grid before, and after each of its inner steps."""
    learner.eval()
    found = []
    with torch.no_grad():
        state = learner.start(support)
        for step in range(learner.inner_steps + 1):
            state = learner.step(state, support) if step else state
            found.append(learner.predict(learner.finish(state, support), grid).flatten().tolist())
    return found


@register("reproduction", "two-modes")
def two_modes(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Few-shot regression of sinusoids and lines: MAML, a MAML for each, and MMAML, which tells them apart.

    Args:
        folder: gets results.json, table.md, fan.png and a folder for each run; finished runs there are taken as they
            are, interrupted ones go on.
        tick: told how many runs of how many are done.
        quick: a few steps.
        seeds: meta-trainings of each.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.two_modes import page as two_modes_page

    count, runs, done = 1 if quick else seeds, [], 0
    options: dict[str, Any] = {"steps": 2, "meta_batch": 2, "compile": False} if quick else {}
    tick(0, 4 * count)
    for seed in range(count):
        plan = recipes(seed, **options)
        trained: dict[str, Learner] = {}
        for name, recipe in plan.items():
            where = folder / f"{name}-{seed}"
            trained[name] = recipe.train(where, progress=False).learner
            done += 1
            tick(done, 4 * count)
        shots, noise, tasks = plan["maml"].shots, plan["maml"].noise, 5 if quick else TASKS
        methods = measured(trained, shots, noise, tasks)
        for name, facts in measured(trained, 2 * shots, noise, tasks).items():
            methods[name]["twice"] = facts["mse"]
        runs.append({"seed": seed, "methods": methods})
        if seed == 0:
            points = same_points(shots, noise)
            fans = {
                (mode, name): steps_of(trained[name], support, grid)  # type: ignore[arg-type]
                for mode, (support, grid, _) in points.items()
                for name in ("maml", "mmaml")
            }
    two_modes_page.save_all(folder, runs, points, fans)
    return two_modes_page.summary(runs)
