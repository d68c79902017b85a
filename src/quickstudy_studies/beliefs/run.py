"""Learners of distributions and deterministic MAML, trained and judged on the same ambiguous tasks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.evaluation import BANK_SEED, Reliability, evaluate, interval95, reliability
from quickstudy.functional import random
from quickstudy.functional.coverage import quantile
from quickstudy.functional.predictive import Gaussian, Predictive
from quickstudy.recipes.beliefs import BeliefRecipe
from quickstudy.registry import lookup
from quickstudy.tasks.base import Bank
from quickstudy_studies.beliefs.exact import HalfPlanePosterior, SinusoidPosterior
from quickstudy_studies.shared.cores import Piece

PLAIN, EXACT = "MAML", "exact posterior"
RECIPES = {
    PLAIN: "beliefs-maml",
    "EnsembleMAML": "beliefs-ensemble",
    "BMAML": "beliefs-bmaml",
    "PLATIPUS": "beliefs-platipus",
    "VERSA": "beliefs-versa",
    "LaplaceHead": "beliefs-laplace",
}
TEST_SEED = BANK_SEED + 2
"""Of the tasks that are reported; whatever was chosen was chosen on those of `BANK_SEED`."""
LEVEL = 0.9
SHOWN = {"sinusoids": 0, "half-planes": 0}
"""The test task whose answers are drawn."""
POINTS = 100


def pieces(data: str, seeds: int, tasks: int, steps: int | None) -> dict[str, Piece]:
    """Return what is to be trained and judged on one kind of tasks, by name: every learner, and the exact posterior.

    Args:
        data: 'sinusoids' or 'half-planes'.
        seeds: runs of each learner, all judged on the same tasks.
        tasks: to be judged on.
        steps: outer steps, in place of the recipes' own.
    """
    found: dict[str, Piece] = {_name(data, EXACT, 0): partial(exact, data, tasks)}
    for name in RECIPES:
        for seed in range(seeds):
            found[_name(data, name, seed)] = partial(trained, data, name, seed, tasks, steps)
    return found


def exact(data: str, tasks: int) -> dict[str, Any]:
    """Return how reliable the exact posterior is, and its answers to the task that is shown, as JSON."""
    bank, shown = _asked(data, tasks)
    truth: Learner = SinusoidPosterior() if data == "sinusoids" else HalfPlanePosterior()
    judged = reliability(truth, bank, tasks, level=LEVEL, seed=TEST_SEED)
    return {"reliability": _as_json(judged), "answers": _answers(truth, shown), "noise": None}


def trained(data: str, name: str, seed: int, tasks: int, steps: int | None) -> dict[str, Any]:
    """Train a learner; return how reliable it is, its answers to the task that is shown, and its noise, as JSON."""
    bank, shown = _asked(data, tasks)
    recipe = _recipe(name, data, seed, steps)
    learner = recipe.train(None, progress=False).learner
    noise = _noise(learner, recipe) if data == "sinusoids" and name == PLAIN else None
    judged = reliability(learner, bank, tasks, level=LEVEL, noise=noise, seed=TEST_SEED)
    learned = getattr(learner, "log_noise", None)
    return {
        "reliability": _as_json(judged),
        "answers": _answers(learner, shown, noise),
        "noise": float(learned.detach().exp()) if isinstance(learned, torch.Tensor) else noise,
    }


def gathered(data: str, seeds: int, tasks: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found on one kind of tasks, as JSON; answers and noises are those of the first seed.

    Args:
        data: as for `pieces`, like the next two.
        seeds: runs.
        tasks: that they were judged on.
        found: what the pieces returned, by name.
    """
    first = {name: found[_name(data, name, 0)] for name in (EXACT, *RECIPES)}
    runs = {EXACT: [_read(first[EXACT])]}
    runs |= {name: [_read(found[_name(data, name, seed)]) for seed in range(seeds)] for name in RECIPES}
    plain = _mean(runs[PLAIN], "likelihoods")
    _, shown = _asked(data, 1)
    return {
        "tasks": tasks,
        "learners": {name: _judged(each, plain) | {"noise": first[name]["noise"]} for name, each in runs.items()},
        "shown": {
            "support": [shown.support.inputs.tolist(), shown.support.labels.flatten().tolist()],
            "answers": {name: each["answers"] for name, each in first.items()},
        },
    }


def _name(data: str, learner: str, seed: int) -> str:
    return f"{data}, {learner} {seed}"


def _asked(data: str, tasks: int) -> tuple[Bank, Task]:
    """Return the tasks to be judged on, and the one that is shown."""
    bank = _recipe(PLAIN, data).tasks(0).bank(max(tasks, SHOWN[data] + 1), TEST_SEED)
    return bank, batching.select(bank.batch(SHOWN[data], 1), 0)


def _as_json(judged: Reliability) -> dict[str, Any]:
    return {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in vars(judged).items()}


def _read(piece: Mapping[str, Any]) -> Reliability:
    """Return what `_as_json` wrote."""
    parts: dict[str, Any] = {}
    for name, each in piece["reliability"].items():
        parts[name] = np.array(each) if isinstance(each, list) else each
    return Reliability(**parts)


def _recipe(name: str, data: str, seed: int = 0, steps: int | None = None) -> BeliefRecipe:
    options: dict[str, Any] = {} if steps is None else {"steps": steps}
    # Validation says nothing here: the weights of the last step are judged.
    options |= {"validate_every": 10**9, "validation_tasks": 1}
    recipe: BeliefRecipe = lookup("recipe", RECIPES[name]).build(data=data, seed=seed, **options)
    return recipe


def _noise(learner: Learner, recipe: BeliefRecipe) -> float:
    """Return the one standard deviation that suits a learner's points best, on tasks for validation."""
    return math.sqrt(evaluate(learner, recipe.tasks(0), 600, seed=BANK_SEED, metric="mse", curve_steps=0).mean)


def _mean(runs: Sequence[Reliability], what: str) -> np.ndarray[Any, Any]:
    mean: np.ndarray[Any, Any] = np.mean([getattr(each, what) for each in runs], 0)
    return mean


def _judged(runs: Sequence[Reliability], plain: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return means over runs, with 95 % intervals over tasks; log-likelihoods also minus MAML's, task by task."""
    held, likelihoods = _mean(runs, "held"), _mean(runs, "likelihoods")
    gap = likelihoods - plain
    return {
        "coverage": [float(held.mean()), interval95(held)],
        "coverage_of_runs": [each.coverage for each in runs],
        "size": statistics.fmean(each.size for each in runs),
        "log_likelihood": [float(likelihoods.mean()), interval95(likelihoods)],
        "more_than_plain": [float(gap.mean()), interval95(gap)],
        "curve": _mean(runs, "curve").tolist(),
        "share": runs[0].share.tolist(),
        "risk": _mean(runs, "risk").tolist(),
    }


def _answers(learner: Learner, task: Task, noise: float | None = None) -> dict[str, list[float]]:
    """Return mean and 90 % interval along x, or the probability of class 1 around the unit circle."""
    x = torch.linspace(-5, 5, POINTS).unsqueeze(1)
    if task.support.ways is not None:
        angles = torch.linspace(-math.pi, math.pi, POINTS)
        x = torch.stack([angles.cos(), angles.sin()], 1)
    with torch.no_grad():
        outputs: Any = learner.predict(learner.learn(task.support, random.key(TEST_SEED)), x)
        if task.support.ways is not None:
            return {"probability": outputs.softmax(1)[:, 1].tolist()}
        if not isinstance(outputs, Predictive):
            assert noise is not None
            outputs = Gaussian(outputs, torch.full_like(outputs, noise))
        low, high = (quantile(outputs, (1 + sign * LEVEL) / 2) for sign in (-1, 1))
    return {"mean": outputs.mean.flatten().tolist(), "low": low.tolist(), "high": high.tolist()}
