"""Learning to learn by gradient descent by gradient descent: what is learned is the update rule.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", equations 1 to 3: theta are the
parameters of a problem (the optimizee), phi those of the rule m (the optimiser):

    theta_t+1 = theta_t + g_t
    (g_t, h_t+1) = m(grad f(theta_t), h_t; phi)
    L(phi) = E_f [sum_t w_t f(theta_t)]

Learned across tasks: phi alone. A task brings its own net and theta_0 (`quickstudy.problem.Problem`). Gradients of
the problem are constants to phi, which spares second derivatives (section 2.1); theta_t still depends on phi.
Departures: any update rule takes the rule's place (the paper's is `rules.LSTMRule`). L is the objective of training, by
default the loss on the query after the last step. A problem may judge by other rows than it learns from.
"""

from __future__ import annotations

from typing import ClassVar

from quickstudy.errors import InputError
from quickstudy.inner.adapted import Optimizees
from quickstudy.inner.differentiation import Differentiation, FirstOrder, Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.registry import register
from quickstudy.rules import Rule


@register("learner", family="optimisation", learns="update rule", paper="Andrychowicz et al. 2016", tasks="problems")
class L2O(GradientLearner):
    """An optimiser: runs an update rule, fixed or learned, on problems that bring their own net and start.

    Args:
        rule: the update rule; its parameters are the learner's.
        steps: steps on a problem in meta-training.
        batch: rows of the support a step, in random order; None for all rows.
        told: share of problems whose number of steps the rule is told when it starts, drawn with the task's key.
        test_steps: steps in evaluation mode; None for the same.
        differentiation: `FirstOrder()`, the paper's assumption and what None stands for; `Unrolled()` is exact.
        checkpoint: keep every so many-th step for the outer gradient and make the others again; 0 keeps all, None
            chooses by size (see `operators.checkpointing.unroll`).

    Raises:
        InputError: an argument is out of range; in `adapt`, a task is no `Problem`, or its net and start do not fit.

    Examples:
        >>> import torch, quickstudy as qs
        >>> from quickstudy.problem import Optimizee, Problem
        >>> net = torch.nn.Linear(1, 1)
        >>> start = {name: value.detach() for name, value in net.named_parameters()}
        >>> rows = torch.linspace(-1, 1, 5).unsqueeze(1)
        >>> problem = Problem(Optimizee(rows, net), 3 * rows, start)
        >>> learner = qs.learners.L2O(qs.rules.SGD(0.5), steps=50)
        >>> learner.loss(learner.adapt(problem), problem).item() < 1e-6
        True
    """

    needs_problems: ClassVar[bool] = True

    def __init__(
        self,
        rule: Rule,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        differentiation: Differentiation | None = None,
        checkpoint: int | None = None,
        told: float = 1.0,
    ) -> None:
        passing = FirstOrder() if differentiation is None else differentiation
        if checkpoint is not None and checkpoint < 0:
            raise InputError(f"checkpoint must be 0 (keep everything) or more, not {checkpoint}")
        super().__init__(Optimizees(told), rule, passing, steps, test_steps, batch=batch)
        if not isinstance(rule, Rule):
            raise InputError(f"rule must be an update rule, such as rules.LSTMRule(), not {rule!r}")
        self.checkpoint = checkpoint

    @property
    def every(self) -> int | None:
        """Choice of the states to keep: the one given, else the differentiation's, else one that fits."""
        # Even with constant gradients a rule leaves much to keep.
        passing = self.differentiation
        return passing.checkpoint if self.checkpoint is None and isinstance(passing, Unrolled) else self.checkpoint
