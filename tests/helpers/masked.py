"""A tiny task with padding."""

import torch

from quickstudy import Examples, Task
from quickstudy.testing.specimens import WAYS, classification_task


def masked_task() -> Task:
    """Return a task whose classes have 3, 2 and 1 support rows, and which lacks a query row."""
    task = classification_task()
    keep = torch.tensor([1, 1, 1, 1, 1, 0, 1, 0, 0]).bool()
    support = Examples(task.support.inputs, task.support.labels, keep, WAYS)
    query = Examples(task.query.inputs, task.query.labels, torch.tensor([1, 1, 1, 1, 0, 1]).bool(), WAYS)
    return Task(support, query)
