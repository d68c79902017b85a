"""Example weights: learned is how much each row of the training data counts.

Shu et al. 2019, "Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting", equations 2 to 7. Labels may be
wrong, or classes rare. With a mini-batch of n rows with losses L_i(theta), theta takes the step

    theta_t+1 = theta_t - alpha sum_i V(L_i(theta_t); omega) grad L_i(theta_t) / sum_j V(L_j(theta_t); omega)

and omega is learned such that the loss on a small clean set (the query) falls. In the step a weight is a constant to
theta, as in the paper; to omega it is not. Learned across tasks: omega alone. The task brings its net and theta_0
(`quickstudy.problem.Problem`), and omega fits any. The paper's online scheme, a step of omega for every step of theta,
is `outer.Truncated(length=1)` on `tasks.OneTask` or `tasks.Restarts`.

With `nets.RowWeights` in the place of V each row has a weight of its own (Franceschi et al. 2017, "Forward and Reverse
Gradient-Based Hyperparameter Optimization", section 5.1). Ren et al. 2018, "Learning to Reweight Examples for Robust
Deep Learning", take the same gradient, at weights of zero, and forget them after every step: nothing is learned across
steps there, which a learner's parameters could hold.
Departures: any update rule takes the place of SGD with momentum; V's mean is not divided by n, as in the authors' code.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, register_pytree
from quickstudy.errors import InputError
from quickstudy.functional.predictive import check_logits, check_targets
from quickstudy.inner.adapted import Theta
from quickstudy.inner.differentiation import Differentiation
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.losses import TaskLoss, over_classes
from quickstudy.inner.rows import ChangedRows
from quickstudy.learners.optimization.learned_rows import LearnedRows
from quickstudy.nets.example_weights import LossWeights, RowWeights
from quickstudy.registry import register
from quickstudy.rules import Rule


class Weighed(Examples):
    """Rows with their weights (S,), which sum to 1."""

    weights: Tensor

    def __init__(self, rows: Examples, weights: Tensor) -> None:
        super().__init__(rows.inputs, rows.labels, rows.mask, rows.ways, check=False)
        object.__setattr__(self, "weights", weights)


register_pytree(Weighed, ("inputs", "labels", "mask", "weights"), ("ways",))


class Weighing(ChangedRows):
    """Rows with their weights at the theta that a step begins with."""

    unseen: ClassVar[str] = "example weights, which are constants to"

    def ordered(self, learner: MetaWeightNet) -> bool:
        """A weight of a row's own is that of its place."""
        return super().ordered(learner) or isinstance(learner.weigh, RowWeights)

    def take(self, learner: MetaWeightNet, state: InnerState, support: Examples) -> Weighed:
        """Return the rows, weighed."""
        if isinstance(learner.weigh, RowWeights) and learner.weigh.rows != len(support):
            raise InputError(f"RowWeights is for {learner.weigh.rows} rows, and the support has {len(support)}")
        numbers = torch.arange(len(support), device=support.labels.device)
        numbered = Examples((support.inputs, numbers), support.labels, support.mask, support.ways, check=False)
        taken = self.of.take(learner, state, numbered)
        inputs, numbers = taken.inputs
        rows = Examples(inputs, taken.labels, taken.mask, taken.ways, check=False)
        weights = weights_of(learner, state, rows, numbers)
        # Weights of next to nothing everywhere make a step of next to nothing, not of NaN.
        return Weighed(rows, weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny))


class WeighedLoss(TaskLoss):
    """The weighted loss of rows that have weights; of others the task's."""

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the weighted sum."""
        if not isinstance(rows, Weighed):
            return super().value(learner, theta, rows, classes)
        return (rows.weights * losses(learner, theta, rows, classes)).sum()


def losses(learner: GradientLearner, theta: Theta, rows: Examples, classes: Tensor | None) -> Tensor:
    """Return the loss of each row (R,), 0 for padding."""
    outputs: Any = over_classes(learner.answers(theta, rows), rows, classes)
    if rows.labels.dtype.is_floating_point:
        check_targets(outputs, rows.labels)
        found = (outputs - rows.labels.reshape(outputs.shape)).square().flatten(1).mean(1)
    else:
        check_logits(outputs, rows.labels)
        found = F.cross_entropy(outputs, rows.labels, reduction="none")
    return found if rows.mask is None else torch.where(rows.mask, found, 0)


def weights_of(learner: MetaWeightNet, state: InnerState, rows: Examples, numbers: Tensor) -> Tensor:
    """Return what `weigh` gives rows of these numbers (R,) where an inner loop has arrived; 0 for padding."""
    classes = state.present if isinstance(state.present, Tensor) else None
    weights: Tensor = learner.weigh(losses(learner, state.theta, rows, classes), numbers)
    return weights if rows.mask is None else torch.where(rows.mask, weights, 0)


@register("learner", family="optimisation", learns="example weights", paper="Shu et al. 2019", tasks="problems")
class MetaWeightNet(LearnedRows):
    """Fits a problem's net to rows that count more or less, as the query says.

    Args:
        weigh: module from losses (R,) and row numbers (R,) to weights (R,) of 0 or more; None for `nets.LossWeights()`.
        rule: the update rule; None for `rules.SGD(0.1)`.
        steps: steps on a problem in meta-training.
        batch: rows of the support a step, in random order; None for all rows.
        test_steps: steps in evaluation mode; None for the same.
        differentiation: `Unrolled()`, what None stands for. First-order gradients take weights for constants, and at a
            fixed point the step is not a loss's gradient, so that nothing else is accepted.
        checkpoint: as for `L2O`.

    Raises:
        InputError: an argument is out of range; in `adapt`, no `Problem`, or not as many rows as `RowWeights` is for.

    Examples:
        >>> import torch, quickstudy as qs
        >>> from quickstudy.problem import Optimizee, Problem
        >>> net, rows = torch.nn.Linear(1, 1), torch.linspace(-1, 1, 4).unsqueeze(1)
        >>> start = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
        >>> support = Problem(Optimizee(rows, net), torch.tensor([[9.0], [0.5], [0.5], [0.5]]), start)
        >>> learner = qs.learners.MetaWeightNet(qs.nets.RowWeights(4), steps=50)
        >>> learner.weights(learner.start(support), support)
        tensor([0.5000, 0.5000, 0.5000, 0.5000], grad_fn=<SigmoidBackward0>)
    """

    def __init__(
        self,
        weigh: nn.Module | None = None,
        rule: Rule | None = None,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        differentiation: Differentiation | None = None,
        checkpoint: int | None = None,
    ) -> None:
        super().__init__(Weighing, rule, steps, batch, test_steps, differentiation, checkpoint)
        self.inner_loss = WeighedLoss()
        self.weigh = LossWeights() if weigh is None else weigh

    def weights(self, state: InnerState, support: Examples) -> Tensor:
        """Return what `weigh` gives each row of a support (S,) where an inner loop has arrived; 0 for padding."""
        rows = torch.arange(len(support), device=support.labels.device)
        return weights_of(self, state, support, rows)
