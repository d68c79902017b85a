"""The settings of a meta-training, and its progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.batching import Compile
from quickstudy.core import Learner
from quickstudy.engine.objective import Objective
from quickstudy.evaluation import Report
from quickstudy.outer.base import Outer
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.loggers import Logger


@dataclass(frozen=True)
class Settings:
    """The settings: the arguments of `meta_train`, with its defaults in place.

    Attributes:
        matmul_dtype: dtype in which nets multiply while they train; None is that of the learner. Validation, whose
            figures are compared with those of `evaluate`, always takes the learner's.
    """

    learner: Learner
    tasks: TaskDistribution
    validation: TaskDistribution | None
    outer: Outer
    objective: Objective
    steps: int
    meta_batch: int
    run_dir: Path | None
    validate_every: int
    validation_tasks: int
    patience: int | None
    log_every: int
    seed: int
    chunk: int | None
    compile: Compile | None
    loggers: Sequence[Logger | str]
    matmul_dtype: torch.dtype | None


@dataclass
class Standing:
    """How far a run has come: all that changes while it goes on, besides weights.

    Attributes:
        step: outer steps done.
        best: best validation metric, nan before the first.
        best_step: its step.
        since_best: validations since then.
        history: logged rows.
        best_weights: the learner's state dict at the best step.
    """

    step: int = 0
    best: float = math.nan
    best_step: int = 0
    since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None

    @classmethod
    def of(cls, content: dict[str, Any], best_weights: dict[str, Tensor] | None) -> Standing:
        """Return the standing of a checkpoint."""
        best = math.nan if content["best"] is None else content["best"]
        numbers = {name: content[name] for name in ("step", "best_step", "since_best")}
        return cls(best=best, best_weights=best_weights, history=list(content.get("history", ())), **numbers)

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it. The history is in the log, and best weights are in their own file."""
        return {
            "step": self.step,
            "best": None if math.isnan(self.best) else self.best,
            "best_step": self.best_step,
            "since_best": self.since_best,
        }

    def best_content(self) -> dict[str, Any]:
        """Return what the file of the best weights holds."""
        return {"learner": self.best_weights, "step": self.best_step, "validation": self.best}

    def take(self, report: Report, learner: Learner) -> bool:
        """Take in a validation; return whether the learner's present weights are the best ones now."""
        gain = report.gain(self.best)
        better = math.isnan(self.best) or gain > 0
        self.since_best = 0 if better else self.since_best + 1
        # Of equals, the later: where validation says all that it can, training may still go on to improve.
        if not better and gain != 0:
            return False
        self.best, self.best_step = report.mean, self.step
        self.best_weights = {name: value.detach().clone() for name, value in learner.state_dict().items()}
        return True

    def stopped(self, patience: int | None) -> bool:
        """Return whether so many validations have passed without a better one."""
        return patience is not None and self.since_best >= patience
