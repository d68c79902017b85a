"""ML3: a loss, meta-learned, with which gradient descent learns a task from anywhere.

Bechtle, Molchanov, Chebotar, Grefenstette, Righetti, Sukhatme & Meier 2021, "Meta-Learning via Learned Loss",
algorithms 1 and 2, with a loss network M_phi of the outputs and the targets:

    theta' = theta - lr grad_theta mean_i M_phi(f_theta(x_i), y_i)      (inner, on the support)
    phi   <- phi - beta grad_phi L(theta')                              (outer, L the task's own loss on the query)

Learned across tasks: phi alone. theta is drawn anew for each task, so that the loss learns to teach any beginning.
Departures: M is applied to each number by itself and averaged, so that a loss fits any number of targets; of classes it
sees the log-probability and whether the class is the right one. Its hidden layers are smooth (softplus, where the paper
has ReLUs), for the inner gradient's derivative is what it is trained by. The paper adds extra inputs, such as a goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, masked_mean
from quickstudy.errors import InputError
from quickstudy.functional.classes import one_hot, present
from quickstudy.functional.predictive import check_targets
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.inner.losses import LearnedInnerLoss, over_classes
from quickstudy.inner.starts import DrawnStart
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import SGD
from quickstudy.rules.base import Theta


class PairLoss(nn.Module):
    """A loss of pairs of numbers, softplus(MLP(output, target)): positive, smooth, otherwise free.

    Args:
        hidden: widths of hidden layers.
    """

    def __init__(self, hidden: Sequence[int] = (40, 40)) -> None:
        super().__init__()
        sizes = (2, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return losses of any shape, of outputs and targets of that shape."""
        x = torch.stack([outputs, targets], -1)
        for layer in self.layers:
            x = F.softplus(layer(x))
        return x.squeeze(-1)


class Taught(LearnedInnerLoss):
    """The learned loss of each output and its target, for classes of the log-probabilities."""

    def value(self, learner: LearnedLoss, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the mean over rows."""
        outputs = learner.answers(theta, rows)
        if rows.ways is None:
            check_targets(outputs, rows.labels)
            return masked_mean(learner.inner(outputs, rows.labels.reshape(outputs.shape)), rows.mask)
        if rows.labels.ndim != 1:
            raise InputError(f"a learned loss needs one label per row, shape (S,), not {tuple(rows.labels.shape)}")
        shown = present(rows) if classes is None else classes
        logs = over_classes(outputs, rows, shown).log_softmax(1)
        # An absent class has no finite log-probability, and no part in the loss.
        losses = learner.inner(torch.where(shown, logs, torch.zeros_like(logs)), one_hot(rows, outputs.dtype))
        return masked_mean(torch.where(shown, losses, torch.zeros_like(losses)).sum(1), rows.mask)


@register("learner", family="optimisation", learns="inner loss", paper="Bechtle et al. 2021", tasks="both")
class LearnedLoss(GradientLearner):
    """Gradient descent on a learned loss, from parameters drawn anew for each task.

    Args:
        net: any module of layers that `nets.initialise` knows; its parameters that require a gradient are drawn and
            adapted. For classification it has `outputs` N.
        hidden: widths of the loss network.
        lr: inner learning rate; the loss learns its own scale besides.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support', 'transductive' or 'frozen'.
    """

    def __init__(
        self,
        net: nn.Module,
        hidden: Sequence[int] = (40, 40),
        lr: float = 0.1,
        steps: int = 1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(DrawnStart(net), SGD(lr), Unrolled(), steps, test_steps, batch_norm, loss=Taught())
        self.inner = PairLoss(hidden)
