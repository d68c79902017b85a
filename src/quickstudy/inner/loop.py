"""The one inner loop of all gradient-based learners: a composition of parts.

    theta_0  = adapted.initial(support)
    g_t      = differentiation.gradient(inner loss at theta_t)
    theta_t+1 = rule.update(g_t, theta_t)
    theta'   = differentiation.finish(the step at theta_T)

Named methods (`maml.py`, `meta_sgd.py`, ...) only put the parts together. The loop is resumable: `start` gives the
state before learning, `step` makes one step, `finish` what prediction needs; `adapt` is the three in turn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, State, prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.classes import mask_absent, present
from quickstudy.inner.adapted import Adapted, Theta, slice_ways
from quickstudy.inner.differentiation import Differentiation, InnerStep
from quickstudy.operators import trees
from quickstudy.operators.calls import BatchNormPolicy, Statistics, check_policy, given_by, uses_batch_statistics
from quickstudy.operators.checkpointing import unroll
from quickstudy.rules import ProximalSGD, Rule


class InnerState(NamedTuple):
    """What one task's inner loop has reached."""

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
    ) -> None:
        super().__init__()
        check_policy(batch_norm)
        for name, value in (("steps", steps), ("test_steps", test_steps)):
            if value is not None and value < 0:
                raise InputError(f"{name} must be 0 or more, not {value}")
        self.adapted, self.rule, self.differentiation = adapted, rule, differentiation
        self.steps, self.test_steps = steps, test_steps
        if batch is not None and batch < 1:
            raise InputError(f"batch must be at least 1 row, or None for all, not {batch}")
        self.policy: BatchNormPolicy = batch_norm
        self.batch = batch

    @property
    def stochastic(self) -> bool:
        """Mini-batches are drawn with a key."""
        return self.batch is not None

    @property
    def permutation_invariant(self) -> bool:
        """Mini-batches depend on the order of rows."""
        return self.batch is None

    @property
    def exact_meta_gradient(self) -> bool:
        """Unrolled gradients are exact; first-order and implicit ones are not meant to be."""
        return self.differentiation.exact

    @property
    def batch_norm(self) -> str:
        """The policy, if the net has batch norm at all."""
        return self.policy if uses_batch_statistics(self.adapted.net) else "none"

    @property
    def inner_steps(self) -> int:
        """Steps that `adapt` takes in the present mode."""
        return self.steps if self.training or self.test_steps is None else self.test_steps

    def accepts(self, differentiation: Differentiation) -> str | None:
        """Return why the outer gradient cannot pass this inner loop so, or None if it can."""
        if differentiation.recorded:
            return None
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
        """Which inner states are kept for the outer gradient (see `operators.checkpointing.unroll`)."""
        return self.differentiation.checkpoint

    @property
    def learns_only_start(self) -> bool:
        """Whether all that is learned across tasks is where the inner loop starts."""
        start = {f"adapted.net.{name}" for name in self.adapted.names()}
        return all(name in start for name, value in self.named_parameters() if value.requires_grad)

    @property
    def ends_where_it_starts(self) -> bool:
        """Whether the inner loop's end holds values of the very parameters that it starts from, as Reptile needs."""
        return self.adapted.own

    def inner_outputs(self, theta: Theta, support: Examples, is_present: Tensor | None = None) -> Tensor:
        """Return what theta answers to the support's rows, over the classes (N,) that are present; None looks at the
        rows."""
        outputs, _ = self.adapted.apply(theta, support.inputs, given_by(self.batch_norm), support.mask)
        if support.ways is not None:
            outputs = mask_absent(slice_ways(outputs, support), present(support) if is_present is None else is_present)
        return outputs

    def inner_loss(self, theta: Theta, support: Examples, is_present: Tensor | None = None) -> Tensor:
        """Return the loss that inner steps descend; arguments as for `inner_outputs`."""
        return prediction_loss(self.inner_outputs(theta, support, is_present), support)

    def start(self, support: Examples, key: Tensor | None = None) -> InnerState:
        """Return the state before the first step."""
        theta = self.adapted.initial(support, given_by(self.batch_norm))
        like = next(iter(theta.values()))
        order: Tensor | tuple[()] = ()
        if self.batch is not None and self.batch < len(support):
            key = random.key(0, like.device) if key is None else key
            order = random.permutation(key, len(support))
            if support.mask is not None:
                # Padding last, where no mini-batch reaches.
                order = order[(~support.mask[order]).long().argsort(stable=True)]
        return InnerState(
            theta=theta,
            initial=theta,
            rule=self.rule.start(theta, self.inner_steps),
            step=torch.zeros((), dtype=torch.long, device=like.device),
            order=order,
            present=() if support.ways is None else present(support),
            statistics=(),
        )

    def step(self, state: InnerState, support: Examples) -> InnerState:
        """Make one inner step."""
        rows = self._rows(state, support)
        # A mini-batch may lack a class that the task has: the task decides which classes compete.
        is_present = state.present if isinstance(state.present, Tensor) else None

        def loss(theta: Theta, rows: Examples) -> Tensor:
            return self.inner_loss(theta, rows, is_present)

        with torch.set_grad_enabled(torch.is_grad_enabled() and self.differentiation.recorded):
            grads, value = self.differentiation.gradient(loss, state.theta, rows)
            theta, rule = self.rule.update(grads, state.rule, state.theta, value)
        return state._replace(theta=theta, rule=rule, step=state.step + 1)

    def finish(self, state: InnerState, support: Examples) -> InnerState:
        """Return the state that prediction uses: the outer gradient attached, batch statistics taken."""
        inner = InnerStep(
            loss=lambda theta, rule, rows: self.inner_loss(theta, rows),
            update=lambda grads, theta, value, rule, rows: self.rule.update(grads, rule, theta, value)[0],
            module=self,
            symmetric=getattr(self.rule, "symmetric", False),
        )
        # With mini-batches, too, it is the step on all rows whose fixed point the end is taken for.
        theta = self.differentiation.finish(inner, state.theta, state.rule, support)
        statistics: Statistics = ()
        if self.batch_norm == "support":
            _, statistics = self.adapted.apply(theta, support.inputs, None, support.mask)
        return state._replace(theta=theta, statistics=statistics)

    def adapt(self, support: Examples, key: Tensor | None = None) -> State:
        """Take the inner steps on one task's support."""
        state = self.start(support, key)
        state = unroll(self.step, state, support, steps=self.inner_steps, module=self, every=self.every)
        return self.finish(state, support)

    def predict(self, state: InnerState, inputs: Any) -> Tensor:
        """Return logits (Q, N), or outputs (Q, ...) for regression."""
        given = given_by(self.batch_norm, state.statistics)
        outputs, _ = self.adapted.apply(state.theta, inputs, given)
        if not isinstance(state.present, Tensor):
            return outputs
        return mask_absent(outputs[:, : len(state.present)], state.present)

    def _rows(self, state: InnerState, support: Examples) -> Examples:
        if self.batch is None or not isinstance(state.order, Tensor):
            return support
        slots = torch.arange(self.batch, device=state.order.device)
        size = torch.full_like(state.step, len(support)) if support.mask is None else support.mask.sum().clamp_min(1)
        # Each pass over the support takes its rows in the same random order; `step` counts on across passes.
        picked = state.order[(state.step * self.batch + slots) % size]

        def take(leaf: Tensor) -> Tensor:
            return leaf[picked]

        # With fewer real rows than a batch, each comes once.
        mask = None if support.mask is None else take(support.mask) & (slots < size)
        return Examples(trees.map_leaves(take, support.inputs), take(support.labels), mask, support.ways, check=False)
