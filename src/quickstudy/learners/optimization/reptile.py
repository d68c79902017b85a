"""Reptile: move the initialisation towards what each task made of it.

Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm 2:

    theta'_i = k steps of SGD or Adam from theta on task i
    theta   <- theta + epsilon mean_i (theta'_i - theta)

The first line is this learner; the second is the outer rule `quickstudy.outer.Reptile`. Learned across tasks: the
initialisation. The support is all of a task's training rows; the inner Adam has beta1 = 0 as in the paper. Departures:
Adam starts anew in each task, where the authors' code carries its second moments from task to task; each pass over a
task's rows has the same random order.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from quickstudy.errors import unknown_name
from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import FirstOrder
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD, Adam, Rule


@register("learner", family="optimisation", learns="initialisation", paper="Nichol et al. 2018", tasks="both")
class Reptile(GradientLearner):
    """Many inner steps on mini-batches; train it with `outer.Reptile()`.

    Args:
        net: any module.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        batch: rows a step; None for all.
        test_steps: inner steps in evaluation mode (50 in the paper).
        optimizer: 'adam' (beta1 = 0) or 'sgd'.
        batch_norm: 'support' or 'transductive'.
    """

    default_outer: ClassVar[str] = "Reptile"

    def __init__(
        self,
        net: nn.Module,
        lr: float = 1e-3,
        steps: int = 5,
        batch: int | None = 10,
        test_steps: int | None = 50,
        optimizer: str = "adam",
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        if optimizer not in ("adam", "sgd"):
            raise unknown_name("optimizer", optimizer, ("adam", "sgd"))
        rule: Rule = Adam(lr, betas=(0.0, 0.999)) if optimizer == "adam" else SGD(lr)
        super().__init__(AllParameters(net), rule, FirstOrder(), steps, test_steps, batch_norm, batch)
