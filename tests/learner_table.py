"""What tests build learners and tasks from: those of `quickstudy.testing.specimens`, and some only tests need."""

import torch

from quickstudy import Examples, Task
from quickstudy.testing.specimens import (
    CLASSIFICATION,
    FEATURES,
    PROBLEMS,
    REGRESSION,
    WAYS,
    Build,
    Net,
    classification_task,
    conv4,
    mlp,
    problem_task,
    regression_task,
)

__all__ = [
    "CLASSIFICATION",
    "FEATURES",
    "PROBLEMS",
    "REGRESSION",
    "WAYS",
    "Build",
    "Net",
    "classification_task",
    "conv4",
    "masked_task",
    "mlp",
    "problem_task",
    "regression_task",
]


def masked_task() -> Task:
    """Return a task whose classes have 3, 2 and 1 support rows, and which lacks a query row."""
    task = classification_task()
    keep = torch.tensor([1, 1, 1, 1, 1, 0, 1, 0, 0]).bool()
    support = Examples(task.support.inputs, task.support.labels, keep, WAYS)
    query = Examples(task.query.inputs, task.query.labels, torch.tensor([1, 1, 1, 1, 0, 1]).bool(), WAYS)
    return Task(support, query)
