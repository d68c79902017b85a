"""Ordinary supervised learning over all meta-training classes: the baselines' objective."""

from __future__ import annotations

from torch import Tensor

from quickstudy.core import Learner, Task, prediction_loss
from quickstudy.engine.objective import objective
from quickstudy.errors import InputError
from quickstudy.registry import register


def refuses(learner: Learner) -> str | None:
    """Need a pretraining head."""
    if hasattr(learner, "classify"):
        return None
    return f"{type(learner).__name__} has no pretraining head; use the objective query_loss"


@register("objective", why="features, without meta-learning")
@objective(refuses=refuses)
def pretraining(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the loss of the learner's pretraining head on a batch of `tasks.Supervised`."""
    classify = getattr(learner, "classify", None)
    if classify is None:
        raise InputError(refuses(learner))
    logits = classify(task.query)
    if logits.shape[1] != task.query.ways:
        raise InputError(
            f"the pretraining head has {logits.shape[1]} classes and the tasks {task.query.ways}; pretrain on "
            f"tasks.Supervised(data), and build the learner with classes=len(data.classes)"
        )
    return prediction_loss(logits, task.query)
