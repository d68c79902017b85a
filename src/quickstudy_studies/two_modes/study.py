"""Sinusoids and lines (Vuorio et al. 2019, table 2): MAML, a MAML for each mode, and MMAML, on the same tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.evaluation import Report, evaluate, interval95
from quickstudy.functional import random
from quickstudy.learners import GradientLearner
from quickstudy.recipes.modes import ModesRecipe, TwoModesMAML, TwoModesMMAML
from quickstudy.tasks.synthetic.functions import MultiModal
from quickstudy_studies.driver import Found, Part, Plan, Study, of_runs, of_this_code
from quickstudy_studies.two_modes import page
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


def trained(folder: Path, seed: int, options: dict[str, Any]) -> dict[str, Learner]:
    """Train what is not trained yet, each into a folder of its own; return the learners."""
    plan = recipes(seed, **options)
    return {name: recipe.train(folder / f"{name}-{seed}", progress=False).learner for name, recipe in plan.items()}


def train(folder: Path, seed: int, name: str, options: dict[str, Any]) -> bool:
    """Train one of the learners; a finished run is taken as it is, an interrupted one goes on."""
    recipes(seed, **options)[name].train(folder / f"{name}-{seed}", progress=False)
    return True


def judge(folder: Path, seed: int, tasks: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of a seed's learners, and what two of them say of the functions that are drawn, as JSON."""
    learners, recipe = trained(folder, seed, options), recipes(seed, **options)["maml"]
    methods = measured(learners, recipe.shots, recipe.noise, tasks)
    for name, facts in measured(learners, 2 * recipe.shots, recipe.noise, tasks).items():
        methods[name]["twice"] = facts["mse"]
    fans = {}
    for mode, (support, grid, truth) in same_points(recipe.shots, recipe.noise).items():
        points = (support.inputs, support.labels, grid, truth)
        steps = {name: steps_of(learners[name], support, grid) for name in ("maml", "mmaml")}  # type: ignore[arg-type]
        fans[mode] = {"points": [each.flatten().tolist() for each in points], "steps": steps}
    return {"seed": seed, "methods": methods, "fans": fans}


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Few-shot regression of sinusoids and lines: MAML, a MAML for each, and MMAML, which tells them apart.

    Args:
        folder: gets results.json, table.md, fan.png and a folder for each run; finished runs there are taken as they
            are, interrupted ones go on.
        quick: a few steps.
        seeds: meta-trainings of each.
    """
    options: dict[str, Any] = {"steps": 2, "meta_batch": 2, "compile": False} if quick else {}
    numbers, tasks = range(1 if quick else seeds), 5 if quick else TASKS
    runs = {
        f"{name}-{seed}": partial(train, folder, seed, name, options)
        for seed in numbers
        for name in recipes(seed, **options)
    }
    judged = {f"judged {seed}": partial(judge, folder, seed, tasks, options) for seed in numbers}
    key = of_this_code(tasks=tasks, **options)

    def results(found: Found) -> dict[str, Any]:
        return {"runs": [found[name] for name in judged]}

    return Plan((Part(runs, key, "runs.json"), Part(judged, key)), results)


two_modes = Study(
    "two-modes", plan, of_runs(page.markdown), of_runs(page.summary), {"fan": of_runs(page.figure)}, seeds=1
)
