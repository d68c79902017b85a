"""Data-set distillation: learned is what to train on, a handful of synthetic examples.

Wang et al. 2018, "Dataset Distillation", algorithm 1 and section 3.2. From a beginning theta_0 of a net, drawn for each
task, training takes a few steps on synthetic examples x~ with labels y~ that stay as they are,

    theta_t+1 = theta_t - eta_t grad L(theta_t; x~, y~)

and x~ and the rates eta_t, positive, are learned such that the loss on real data (the query) falls. Learned across
tasks: x~ and eta. The task brings net and theta_0 (`tasks.Restarts`); of its support no row is looked at, only which
classes it has.
Departures: the same examples in each step, where the paper's are other ones in each; rates of each step, the same in
all epochs there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.losses import constant_gradients
from quickstudy.inner.rows import RowChoice
from quickstudy.learners.optimization.l2o import L2O
from quickstudy.problem import Optimizee
from quickstudy.registry import register
from quickstudy.rules import Rule, StepRates


class Synthetic(RowChoice):
    """The learned examples, in every step and at the end."""

    def take(self, learner: DatasetDistillation, state: InnerState, support: Examples) -> Examples:
        """Return the examples as rows of the task."""
        return learner.synthetic(state, support)

    def end(self, learner: DatasetDistillation, state: InnerState, support: Examples) -> Examples:
        """Return the examples as rows of the task."""
        return learner.synthetic(state, support)

    def refuses(self, learner: GradientLearner, differentiation: Differentiation) -> str | None:
        """Refuse inner gradients that are constants."""
        return constant_gradients(learner, differentiation)


@register("learner", family="optimisation", learns="training examples", paper="Wang et al. 2018", tasks="problems")
class DatasetDistillation(L2O):
    """Fits a problem's net to learned synthetic examples.

    Args:
        shape: of an example's inputs (...).
        ways: classes (N), each with as many examples.
        shots: synthetic examples a class (K).
        steps: steps on them.
        lr: of each step, to begin with.
        rule: the update rule; None for `rules.StepRates(steps, lr)`, a learned rate for each step.
        scale: standard deviation of the synthetic inputs to begin with, which are normal.
        differentiation: `Unrolled()`, what None stands for; first-order gradients know nothing of the examples.
        checkpoint: as for `L2O`.

    Raises:
        InputError: an argument is out of range; in `adapt`, a task is no `Problem`, or has other classes.

    Examples:
        >>> import quickstudy as qs
        >>> learner = qs.learners.DatasetDistillation((8, 8), ways=10, shots=1)
        >>> learner.inputs.shape, learner.labels[:3]
        (torch.Size([10, 8, 8]), tensor([0, 1, 2]))
    """

    labels: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        ways: int,
        shots: int = 1,
        steps: int = 10,
        lr: float = 0.1,
        rule: Rule | None = None,
        scale: float = 1.0,
        differentiation: Differentiation | None = None,
        checkpoint: int | None = None,
    ) -> None:
        if min(ways, shots, *shape) < 1:
            raise InputError(f"shape, ways and shots must be positive, not {tuple(shape)}, {ways} and {shots}")
        passing = Unrolled() if differentiation is None else differentiation
        super().__init__(
            StepRates(steps, lr) if rule is None else rule, steps, differentiation=passing, checkpoint=checkpoint
        )
        self.inputs = nn.Parameter(scale * torch.randn(ways * shots, *shape))
        self.register_buffer("labels", torch.arange(ways).repeat(shots))
        self.ways = ways
        self.rows = Synthetic()
        reason = self.accepts(passing)
        if reason is not None:
            raise InputError(reason)

    def synthetic(self, state: InnerState, support: Examples) -> Examples:
        """Return the learned examples as rows of the task; those of classes that it lacks are masked."""
        inputs = support.inputs
        if support.ways is None:
            raise InputError("the task is of regression, and synthetic examples have classes")
        if support.ways != self.ways:
            raise InputError(f"the task has {support.ways} ways and the synthetic examples {self.ways}")
        mask = state.present[self.labels] if isinstance(state.present, Tensor) else None
        rows = Optimizee(self.inputs, inputs.net) if isinstance(inputs, Optimizee) else self.inputs
        return Examples(rows, self.labels, mask, support.ways, check=False)
