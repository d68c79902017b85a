"""Proto-MAML: MAML whose head starts as a prototypical classifier.

Triantafillou et al. 2020, "Meta-Dataset", section 3: the head is initialised from the support's prototypes,
w_k = 2 c_k, b_k = -|c_k|^2, then body and head take MAML's inner steps, and the outer gradient flows through the
initialisation. Learned across tasks: the embedding. It takes any number of ways. First order is an option, as in the
paper's experiments.
"""

from __future__ import annotations

from torch import nn

from quickstudy.inner.adapted import PrototypeHead
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD


@register(
    "learner",
    family="optimisation",
    learns="an embedding and initialisation",
    paper="Triantafillou et al. 2020",
    tasks="classification",
)
class ProtoMAML(GradientLearner):
    """A hybrid of metric and gradient-based learning, for any number of ways.

    Args:
        net: a module that returns features (rows, D).
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        first_order: leave second derivatives out.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.01,
        steps: int = 1,
        test_steps: int | None = None,
        first_order: bool = False,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        passing = FirstOrder() if first_order else Unrolled()
        super().__init__(PrototypeHead(net), SGD(lr), passing, steps, test_steps, batch_norm)
