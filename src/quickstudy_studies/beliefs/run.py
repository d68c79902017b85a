"""Learners of distributions and deterministic MAML, trained and judged on the same ambiguous tasks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
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
from quickstudy_studies.beliefs.exact import HalfPlanePosterior, SinusoidPosterior

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


def run(data: str, seeds: int, tasks: int, steps: int | None, tell: Callable[[], None]) -> dict[str, Any]:
    """Train every learner on one kind of tasks, beside the exact posterior; return what was found, as JSON.

    Args:
        data: 'sinusoids' or 'half-planes'.
        seeds: runs of each learner, all judged on the same tasks.
        tasks: to be judged on.
        steps: outer steps, in place of the recipes' own.
        tell: called after each run.
    """
    bank = _recipe(PLAIN, data).tasks(0).bank(tasks, TEST_SEED)
    shown = batching.select(bank.batch(SHOWN[data], 1), 0)
    truth: Learner = SinusoidPosterior() if data == "sinusoids" else HalfPlanePosterior()
    found = {EXACT: [reliability(truth, bank, tasks, level=LEVEL, seed=TEST_SEED)]}
    answers, noises = {EXACT: _answers(truth, shown)}, {}
    for name in RECIPES:
        found[name] = []
        for seed in range(seeds):
            recipe = _recipe(name, data, seed, steps)
            learner = recipe.train(None, progress=False).learner
            noise = _noise(learner, recipe) if data == "sinusoids" and name == PLAIN else None
            found[name].append(reliability(learner, bank, tasks, level=LEVEL, noise=noise, seed=TEST_SEED))
            if not seed:
                answers[name] = _answers(learner, shown, noise)
                learned = getattr(learner, "log_noise", None)
                noises[name] = float(learned.detach().exp()) if isinstance(learned, torch.Tensor) else noise
            tell()
    plain = _mean(found[PLAIN], "likelihoods")
    return {
        "tasks": tasks,
        "learners": {name: _judged(runs, plain) | {"noise": noises.get(name)} for name, runs in found.items()},
        "shown": {
            "support": [shown.support.inputs.tolist(), shown.support.labels.flatten().tolist()],
            "answers": answers,
        },
    }


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
        outputs: Any = learner.predict(batching.adapt_one(learner, task.support, random.key(TEST_SEED)), x)
        if task.support.ways is not None:
            return {"probability": outputs.softmax(1)[:, 1].tolist()}
        if not isinstance(outputs, Predictive):
            assert noise is not None
            outputs = Gaussian(outputs, torch.full_like(outputs, noise))
        low, high = (quantile(outputs, (1 + sign * LEVEL) / 2) for sign in (-1, 1))
    return {"mean": outputs.mean.flatten().tolist(), "low": low.tolist(), "high": high.tolist()}
