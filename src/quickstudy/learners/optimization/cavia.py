"""CAVIA: fast context adaptation.

Zintgraf et al. 2019, "Fast Context Adaptation via Meta-Learning" (called CAML in its first version), equations 3-4:

    phi' = phi_0 - lr grad_phi L(f_{phi, theta}),  phi_0 = 0      (inner: only the context)
    theta <- theta - beta grad_theta sum_i L_i(f_{phi'_i, theta})  (outer)

Learned across tasks: theta, and with it how the context acts.
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import ContextVector
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD


@register(
    "learner",
    family="optimisation",
    learns="a shared net steered by a context",
    paper="Zintgraf et al. 2019",
    tasks="both",
)
class CAVIA(GradientLearner):
    """Adapts a small context vector; all weights are shared by all tasks.

    Args:
        net: a module with `forward(inputs, context)` and an integer `context`, the vector's size, such as
            `nets.mlp(1, (40, 40), outputs=1, context=5)` or `nets.conv4(outputs=5, context=100)`.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 1.0,
        steps: int = 1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(ContextVector(net), SGD(lr), Unrolled(), steps, test_steps, batch_norm)
