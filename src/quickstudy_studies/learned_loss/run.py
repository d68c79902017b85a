"""A learned loss beside squared, absolute and Huber's error: sinusoids whose targets are right, or not all.

Sinusoids of Finn et al. 2017 from 20 points. What descends is a linear layer on sines and cosines, drawn anew for each
task. In the second family a share of the support's targets is wrong, drawn anew between -10 and 10; the error on the
query, which the loss is learned from, is that on right targets. Rates of the fixed losses are the best of a grid by
what the learned loss is trained for, the mean error after each of the inner steps, on tasks that are not reported.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quickstudy.core import Learner
from quickstudy.evaluation import evaluate
from quickstudy.learners import LearnedLoss
from quickstudy.recipes.losses import SinusoidML3, WrongTargets

FAMILIES = {"right": 0.0, "wrong": 0.3}
"""Share of wrong targets."""
FIXED: dict[str, Callable[..., Tensor]] = {"squared": F.mse_loss, "absolute": F.l1_loss, "Huber": F.huber_loss}
TARGETS, ERRORS = (-3.0, 0.0, 3.0), [k / 5 for k in range(-40, 41)]
VALIDATION, TEST = 1000, 2000
"""Added to the seeds of tasks to choose rates on, and to report."""


@dataclass(frozen=True)
class Settings:
    """Settings of the inner and the outer loop, and of the comparison."""

    steps: int = 20
    outer_steps: int = 250
    grid: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    tasks: int = 200
    compile: bool | Literal["record"] = "record"
    shown: int = 3
    """The curves are so many times as long as the inner loop that is trained."""


class Fixed(nn.Module):
    """A loss in the place of the learned one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return losses of any shape."""
        return FIXED[self.name](outputs, targets, reduction="none")


def fixed(recipe: SinusoidML3, name: str, lr: float) -> LearnedLoss:
    """Return the recipe's learner with a fixed loss."""
    learner = dataclasses.replace(recipe, inner_lr=lr).make_learner()
    learner.inner = Fixed(name)  # type: ignore[assignment]
    return learner


def curve(learner: Learner, tasks: WrongTargets, settings: Settings) -> list[float]:
    """Return the mean squared error on right targets of new tasks after 0, 1, ... inner steps."""
    # A bank is of the seed that is asked for, not of its distribution's own.
    found = evaluate(
        learner.eval(), tasks, settings.tasks, seed=tasks.seed, curve_steps=settings.shown * settings.steps
    )
    return list(found.curve)


def run(family: str, settings: Settings, seed: int) -> dict[str, Any]:
    """Return the curve of each loss on one family, and the learned loss itself, as JSON."""
    options: dict[str, Any] = {
        "steps": settings.outer_steps,
        "inner_steps": settings.steps,
        "compile": settings.compile,
    }
    recipe = SinusoidML3(wrong=FAMILIES[family], seed=seed, device="cpu", **options)
    validation, test = (recipe.tasks(100, start + seed) for start in (VALIDATION, TEST))
    curves, rates = {}, {}
    for name in FIXED:
        tried = {
            lr: curve(fixed(recipe, name, lr), validation, settings)[1 : settings.steps + 1] for lr in settings.grid
        }
        # A rate at which some task diverges has no finite mean.
        rates[name] = min((sum(errors), lr) for lr, errors in tried.items() if math.isfinite(sum(errors)))[1]
        curves[name] = curve(fixed(recipe, name, rates[name]), test, settings)
    learned: Any = recipe.train(None, progress=False).learner
    curves["learned"] = curve(learned, test, settings)
    targets, errors = torch.tensor(TARGETS).unsqueeze(1), torch.tensor(ERRORS)
    with torch.no_grad():
        shape = learned.inner(targets + errors, targets.expand(-1, len(ERRORS))).tolist()
    return {"seed": seed, "family": family, "curves": curves, "rates": rates, "loss": shape}
