"""Ordinary supervised learning over all meta-training classes: the baselines' objective."""

from __future__ import annotations

from torch import Tensor

from quickstudy.core import Learner, Task, prediction_loss
from quickstudy.errors import InputError
from quickstudy.registry import register


@register("objective", why="features, without meta-learning")
def pretraining(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the loss of the learner's pretraining head on a batch of `tasks.Supervised`."""
    classify = getattr(learner, "classify", None)
    if classify is None:
        raise InputError(f"{type(learner).__name__} has no pretraining head; use the objective query_loss")
    return prediction_loss(classify(task.query), task.query)
