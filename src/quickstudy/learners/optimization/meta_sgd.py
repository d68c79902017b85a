"""Meta-SGD: the initialisation and a learning rate for every parameter.

Li, Zhou, Chen & Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", equation 2:

    theta' = theta - alpha * grad L(theta)     (element-wise)

Learned across tasks: theta and alpha, whose signs are free, so that direction is learned too. One step in the paper.
Departure: each rate is drawn by itself, uniform about `lr`; the paper starts all at one value, drawn from [0.005, 0.1].
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import LearnedRates


@register("learner", family="optimisation", learns="initialisation and rates", paper="Li et al. 2017", tasks="both")
class MetaSGD(GradientLearner):
    """MAML with a learned rate for every parameter.

    Args:
        net: any module.
        lr: where the learned rates begin (uniform in lr/2 to 3 lr/2).
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        adapted = AllParameters(net)
        named = dict(net.named_parameters())
        rule = LearnedRates({name: named[name] for name in adapted.names()}, lr)
        super().__init__(adapted, rule, Unrolled(), steps, test_steps, batch_norm)
