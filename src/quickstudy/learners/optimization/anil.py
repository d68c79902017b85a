"""ANIL: almost no inner loop.

Raghu, Raghu, Bengio & Vinyals 2020, "Rapid Learning or Feature Reuse?", section 4: MAML whose inner loop adapts only
the head, theta'_head = theta_head - lr grad_head L; the body is learned across tasks and shared by all of them.
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import HeadParameters
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD


@register(
    "learner", family="optimisation", learns="features and a head's start", paper="Raghu et al. 2020", tasks="both"
)
class ANIL(GradientLearner):
    """MAML that adapts only the head.

    Args:
        net: any module.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        head: name of the module that adapts; None for the last layer with parameters.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.1,
        steps: int = 1,
        head: str | None = None,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(HeadParameters(net, head), SGD(lr), Unrolled(), steps, test_steps, batch_norm)
