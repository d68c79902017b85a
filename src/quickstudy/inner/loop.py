"""The one inner loop of all gradient-based learners: a composition of parts.

    theta_0   = adapted.initial(support)
    B_t       = rows.take(support)
    g_t       = differentiation.gradient(inner_loss.value at theta_t on B_t)
    theta_t+1 = rule.update(g_t, theta_t)
    theta'    = differentiation.finish(the step at theta_T)

Named methods (`maml.py`, `meta_sgd.py`, ...) only put the parts together. The loop is resumable: `start` gives the
state before learning, `step` makes one step, `finish` what prediction needs; `adapt` is the three in turn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, State
from quickstudy.errors import InputError
from quickstudy.functional.classes import mask_absent, present
from quickstudy.inner.adapted import Adapted, Theta, slice_ways
from quickstudy.inner.differentiation import Differentiation, InnerStep
from quickstudy.inner.losses import InnerLoss, TaskLoss
from quickstudy.inner.rows import AllRows, MiniBatches, RowChoice
from quickstudy.operators import trees
from quickstudy.operators.calls import BatchNormPolicy, Statistics, check_policy, given_by, uses_batch_statistics
from quickstudy.operators.checkpointing import unroll
from quickstudy.rules import ProximalSGD, Rule


class InnerState(NamedTuple):
    """The state of one task's inner loop."""

    theta: Theta
    initial: Theta
    rule: Any
    step: Tensor
    order: Tensor | tuple[()]
    """(S,) order in which mini-batches take rows, or empty for full batches."""
    present: Tensor | tuple[()]
    """(N,) classes that have a support row, or empty for regression."""
    statistics: Statistics
    """Batch statistics of the support under theta, for the 'support' policy."""
    key: Tensor | tuple[()] = ()
    """The task's key, for learners that draw in each step, or empty."""


class GradientLearner(Learner):
    """Learns a task by gradient steps on its support.

    Args:
        adapted: what adapts and where it starts.
        rule: the update rule.
        differentiation: how the outer gradient passes.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode (`learner.eval()`); None for the same.
        batch_norm: 'support', 'transductive' or 'frozen' (see `operators.calls.BatchNormPolicy`).
        batch: rows a step, in random order; None for all rows.
        loss: what inner steps descend.
        rows: which rows a step sees; None for `MiniBatches(batch)`, or `AllRows()` where that is None too.

    Raises:
        InputError: steps are negative, a batch is empty, a part is of another kind, or both `batch` and `rows` say
            which rows a step sees.
    """

    def __init__(
        self,
        adapted: Adapted,
        rule: Rule,
        differentiation: Differentiation,
        steps: int,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
        batch: int | None = None,
        loss: InnerLoss = TaskLoss(),  # noqa: B008
        rows: RowChoice | None = None,
    ) -> None:
        super().__init__()
        check_policy(batch_norm)
        for name, value in (("steps", steps), ("test_steps", test_steps)):
            if value is not None and value < 0:
                raise InputError(f"{name} must be 0 or more, not {value}")
        self.adapted, self.rule, self.differentiation = adapted, rule, differentiation
        self.steps, self.test_steps = steps, test_steps
        if batch is not None and rows is not None:
            raise InputError("both batch and rows say which rows a step sees; for mini-batches take either")
        self.norm_policy: BatchNormPolicy = batch_norm
        self.inner_loss = loss
        self.rows = (AllRows() if batch is None else MiniBatches(batch)) if rows is None else rows
        for name, part, kind in (("loss", self.inner_loss, InnerLoss), ("rows", self.rows, RowChoice)):
            if not isinstance(part, kind):
                raise InputError(f"{name} must be an object of a subclass of {kind.__name__}, not {part!r}")

    @property
    def stochastic(self) -> bool:
        """Whether the start, the number of steps or the rows of a step are drawn."""
        return self.adapted.drawn or self.rows.drawn

    @property
    def permutation_invariant(self) -> bool:
        """Whether the rows of a step do not depend on the order of the support's."""
        return not self.rows.ordered(self)

    @property
    def exact_meta_gradient(self) -> bool:
        """Unrolled gradients are exact; first-order and implicit ones are not meant to be."""
        return self.differentiation.exact

    @property
    def batch_norm(self) -> str:
        """The policy, if the net has batch norm at all."""
        return self.norm_policy if uses_batch_statistics(self.adapted.net) else "none"

    @property
    def inner_steps(self) -> int:
        """Steps that `adapt` takes in the present mode."""
        return self.steps if self.training or self.test_steps is None else self.test_steps

    def accepts(self, differentiation: Differentiation) -> str | None:
        """Return why the outer gradient cannot pass this inner loop so, or None if it can."""
        reason = self.inner_loss.refuses(self, differentiation) or self.rows.refuses(self, differentiation)
        if reason is not None or differentiation.recorded:
            return reason
        name = type(differentiation).__name__
        if getattr(differentiation, "solver", None) == "cg" and not getattr(self.rule, "symmetric", False):
            return f"{name}('cg') needs an update like plain gradient descent's, not {type(self.rule).__name__}'s"
        if not self.learns_only_start or isinstance(self.rule, ProximalSGD):
            return None
        return (
            f"{name} gradients are of a fixed point, which knows nothing of where {type(self).__name__} starts, all "
            "that it learns; use Unrolled or FirstOrder, or IMAML, whose inner loop is pulled to its start"
        )

    @property
    def every(self) -> int | None:
        """Choice of the inner states that are kept for the outer gradient (see `operators.checkpointing.unroll`)."""
        return self.differentiation.checkpoint

    @property
    def learns_only_start(self) -> bool:
        """Whether all that is learned across tasks is where the inner loop starts."""
        start = {f"adapted.{name}" for name in self.adapted.start_names()}
        return all(name in start for name, value in self.named_parameters() if value.requires_grad)

    @property
    def ends_where_it_starts(self) -> bool:
        """Whether the inner loop's end holds values of the very parameters that it starts from, as Reptile needs."""
        return self.adapted.own

    def answers(self, theta: Theta, rows: Examples) -> Tensor:
        """Return what theta answers to rows (S, ...), the net's outputs as they are."""
        outputs, _ = self.adapted.run(theta, rows.inputs, given_by(self.batch_norm), rows.mask)
        return outputs

    def start(self, support: Examples, key: Tensor | None = None) -> InnerState:
        """Return the state before the first step."""
        theta = self.adapted.initial(support, given_by(self.batch_norm), key)
        zero = torch.zeros((), dtype=torch.long, device=next(iter(theta.values())).device)
        steps = self.adapted.steps(support, torch.full_like(zero, self.inner_steps), key)
        state = InnerState(
            theta=theta,
            initial=theta,
            rule=self.rule.start(theta, steps),
            step=zero,
            order=(),
            present=() if support.ways is None else present(support),
            statistics=(),
        )
        return self.rows.start(state, support, key)

    def step(self, state: InnerState, support: Examples) -> InnerState:
        """Make one inner step, unless the task's number of them is reached."""
        rows, budget = self.rows.take(self, state, support), self.adapted.budget(support)
        # A mini-batch may lack a class that the task has: the task decides which classes compete.
        classes = state.present if isinstance(state.present, Tensor) else None

        def loss(theta: Theta, rows: Examples) -> Tensor:
            return self.inner_loss.value(self, theta, rows, classes)

        with torch.set_grad_enabled(torch.is_grad_enabled() and self.differentiation.recorded):
            grads, value = self.differentiation.gradient(loss, state.theta, rows)
            theta, rule = self.rule.update(grads, state.rule, state.theta, value)
        new = state._replace(theta=theta, rule=rule, step=state.step + 1)
        if budget is None:
            return new
        return trees.map_leaves(lambda a, b: torch.where(state.step < budget, a, b), new, state)  # type: ignore[no-any-return]

    def finish(self, state: InnerState, support: Examples) -> InnerState:
        """Return the state that prediction uses: the outer gradient attached, batch statistics taken."""
        inner = InnerStep(
            loss=lambda theta, rule, rows: self.inner_loss.value(self, theta, rows),
            update=lambda grads, theta, value, rule, rows: self.rule.update(grads, rule, theta, value)[0],
            module=self,
            symmetric=getattr(self.rule, "symmetric", False),
        )
        # With mini-batches, too, it is the step on all rows whose fixed point the end is taken for.
        rows = self.rows.end(self, state, support)
        theta = self.differentiation.finish(inner, state.theta, state.rule, rows)
        statistics: Statistics = ()
        if self.batch_norm == "support":
            _, statistics = self.adapted.run(theta, rows.inputs, None, rows.mask)
        return state._replace(theta=theta, statistics=statistics)

    def adapt(self, support: Examples, key: Tensor | None = None) -> State:
        """Take the inner steps on one task's support."""
        state = self.start(support, key)
        state = unroll(self.step, state, support, steps=self.inner_steps, module=self, every=self.every)
        return self.finish(state, support)

    def predict(self, state: InnerState, inputs: Any) -> Tensor:
        """Return logits (Q, N), or outputs (Q, ...) for regression."""
        given = given_by(self.batch_norm, state.statistics)
        outputs, _ = self.adapted.run(state.theta, inputs, given)
        if not isinstance(state.present, Tensor):
            return outputs
        return mask_absent(slice_ways(outputs, len(state.present)), state.present)
