"""iMAML: the outer gradient from the inner solution alone.

Rajeswaran, Finn, Kakade & Levine 2019, "Meta-Learning with Implicit Gradients", equation 3 and algorithm 2:

    theta* = argmin_theta L(theta, support) + strength/2 |theta - theta_0|^2
    d theta*/d theta_0 = (I + H/strength)^-1, applied to the query's gradient by conjugate gradient.

That is MAML whose update rule is pulled to its start (`rules.ProximalSGD`) and whose outer gradient is the implicit one
(`inner.differentiation.Implicit`).

Learned across tasks: the initialisation theta_0. Memory does not grow with the number of inner steps. Departures:
plain gradient descent finds theta* approximately; the solve stops after `cg_steps`, and may be damped (`damping`) as in
the authors' code, which pulls only once, after the last step.
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import AllParameters
from quickstudy.inner.differentiation import Implicit
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import ProximalSGD


@register("learner", family="optimisation", learns="initialisation", paper="Rajeswaran et al. 2019", tasks="both")
class IMAML(GradientLearner):
    """MAML with implicit gradients.

    Args:
        net: any module.
        lr: inner learning rate.
        steps: inner steps in meta-training; enough to come near the regularised minimum.
        strength: how hard the inner loop is pulled to its start (lambda in the paper).
        cg_steps: conjugate-gradient steps.
        damping: solves with H/(strength + damping), times a constant, in place of H/strength: a bias that keeps the
            solve well-behaved where the loss curves downwards. The authors' code has 10.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.1,
        steps: int = 10,
        strength: float = 2.0,
        cg_steps: int = 5,
        damping: float = 0.0,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        rule = ProximalSGD(lr, strength)
        super().__init__(
            AllParameters(net), rule, Implicit("cg", cg_steps, lr * damping), steps, test_steps, batch_norm
        )
