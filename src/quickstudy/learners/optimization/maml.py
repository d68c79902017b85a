"""MAML and its variants in what adapts and how the gradient passes.

Finn, Abbeel & Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", algorithm 1:

    theta'_i = theta - lr grad_theta L_i(f_theta)            (inner, on the support)
    theta   <- theta - beta grad_theta sum_i L_i(f_theta'_i)  (outer, on the query)

Learned across tasks: the initialisation theta. Departure: batch statistics come from the support unless
`batch_norm="transductive"`, which is what the paper's figures used.
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD


@register("learner", family="optimisation", learns="initialisation", paper="Finn et al. 2017", tasks="both")
class MAML(GradientLearner):
    """Model-agnostic meta-learning: an initialisation from which few gradient steps learn a task.

    Args:
        net: any module; its parameters that require a gradient are adapted. For classification it has `outputs` N.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: where batch norm's statistics come from, 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(AllParameters(net), SGD(lr), Unrolled(), steps, test_steps, batch_norm)


@register("learner", family="optimisation", learns="initialisation", paper="Finn et al. 2017", tasks="both")
class FOMAML(GradientLearner):
    """First-order MAML: second derivatives are left out (Finn et al. 2017, section 5.2).

    Arguments as for `MAML`.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(AllParameters(net), SGD(lr), FirstOrder(), steps, test_steps, batch_norm)
