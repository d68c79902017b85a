"""Quickstudy: meta-learning in PyTorch. Every method is two functions, written for one task."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quickstudy import (
        batching,
        datasets,
        functional,
        learners,
        nets,
        objectives,
        optim,
        outer,
        recipes,
        rules,
        tasks,
    )
    from quickstudy.checkpoint import load
    from quickstudy.core import Examples, Learner, Task
    from quickstudy.evaluation import Report, compare, evaluate, overfitting_gap
    from quickstudy.shipped import pretrained
    from quickstudy.sklearn import FewShotClassifier
    from quickstudy.training import Run, meta_train

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "FewShotClassifier",
    "Learner",
    "Report",
    "Run",
    "Task",
    "batching",
    "compare",
    "datasets",
    "evaluate",
    "functional",
    "learners",
    "load",
    "meta_train",
    "nets",
    "objectives",
    "optim",
    "outer",
    "overfitting_gap",
    "pretrained",
    "recipes",
    "rules",
    "tasks",
]

# Parts are imported when they are first used, so that the command's help need not wait for PyTorch.
_HOMES = {
    "Examples": "core",
    "FewShotClassifier": "sklearn",
    "Learner": "core",
    "Report": "evaluation",
    "Run": "training",
    "Task": "core",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "load": "checkpoint",
    "meta_train": "training",
    "overfitting_gap": "evaluation",
    "pretrained": "shipped",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"quickstudy.{_HOMES[name]}"), name)
    module = f"quickstudy.{name}"
    try:
        if not name.startswith("_"):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    raise AttributeError(f"module 'quickstudy' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
