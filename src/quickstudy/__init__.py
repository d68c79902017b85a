"""Quickstudy: meta-learning in PyTorch. Every method is two functions, written for one task."""

from quickstudy import batching, datasets, functional, learners, nets, objectives, outer, recipes, tasks
from quickstudy.checkpoint import load
from quickstudy.core import Examples, Learner, Task
from quickstudy.evaluation import Report, compare, evaluate, overfitting_gap
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
    "outer",
    "overfitting_gap",
    "recipes",
    "tasks",
]
