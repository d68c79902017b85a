"""A weighted sum of the losses on the query after each inner step: fast adaptation.

    loss = sum_{t=1..n} w_t L(theta_t; query),  sum_t w_t = 1

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", equation 3, weighs all steps
alike. Antoniou, Edwards & Storkey 2019, "How to train your MAML", section 4 (multi-step loss optimisation), anneals
from there to the last step alone, which steadies MAML's early training. The schedule is that of the authors' code:

    w_t = max(1 - p, 0.03) / n for t < n,  w_n = 1 - sum_{t<n} w_t,  and w_n = 1 once p >= 1

with p = (share of training done) / over. Departure: p grows at each outer step rather than once an epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, Resumable, State, Task
from quickstudy.errors import InputError
from quickstudy.objectives.base import LossOfTask, Objective, Wrapper
from quickstudy.operators.checkpointing import unroll
from quickstudy.problem import budget
from quickstudy.registry import register

LEAST = 0.03
"""Least weight of a step that is annealed, of what it began with (the authors' code)."""


@register("objective", why="fast adaptation: all inner steps alike")
class InnerSteps(Wrapper):
    """Mean over inner steps of an objective that judges a state.

    Each step costs one more pass over the query. Long loops of large nets keep every sqrt(steps)-th state only (see
    `operators.checkpointing.unroll`).

    Args:
        of: what is summed, or its name: an objective that has `after`.

    Raises:
        InputError: `of` does not judge a state. When called: the learner's inner loop cannot be taken step by step, has
            no step, or its gradient passes through its end alone.
    """

    def __init__(self, of: Objective | LossOfTask | str = "query_loss") -> None:
        super().__init__(of)
        if not self.of.judges_end:
            raise InputError(f"of={of!r} does not judge a state (no `after`), so it cannot be taken at each inner step")

    @property
    def judges_end(self) -> bool:
        """Every inner step is judged."""
        return False

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the weight of the loss after inner step number `step` (any shape) of 1..steps."""
        return torch.ones_like(step, dtype=torch.float64) / steps

    def refuses(self, learner: Learner) -> str | None:
        """Need inner steps that can be taken one by one, and a gradient that passes through each."""
        if not isinstance(learner, Resumable):
            return (
                f"{type(learner).__name__} has no inner steps that could be weighed; take objective='query_loss', or a "
                "learner with start, step and finish, such as MAML"
            )
        if learner.inner_steps < 1:
            return "the learner makes no inner step, so there is nothing to weigh; give it steps of 1 or more"
        how = getattr(learner, "differentiation", None)
        if how is not None and not how.recorded:
            return (
                f"a gradient by {type(how).__name__} passes through the end of an inner loop alone; for a sum over "
                "inner steps take Unrolled or FirstOrder, or objective='query_loss'"
            )
        return super().refuses(learner)

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return the weighted sum of the losses along one task's inner loop."""
        reason = self.refuses(learner)
        if reason is not None and (torch.is_grad_enabled() or not isinstance(learner, Resumable)):
            raise InputError(reason)
        assert isinstance(learner, Resumable)
        known = budget(task.support)
        steps = learner.inner_steps if known is None else known

        # The task and its key are arguments, not seen from outside: computing again in backward maps over them.
        def step(carry: tuple[State, Tensor, Tensor], task: Task, key: Tensor) -> tuple[State, Tensor, Tensor]:
            state, total, number = carry
            state, number = learner.step(state, task.support), number + 1
            loss = self.of.after(learner, learner.finish(state, task.support), task, key)
            weight = torch.where(number <= steps, self.weight(number, steps), 0).to(loss.dtype)
            return state, total + weight * loss, number

        start = learner.start(task.support, key if learner.stochastic else None)
        zero = _zero(task.query)
        carry = unroll(
            step,
            (start, zero.to(torch.get_default_dtype()), zero),
            task,
            key,
            steps=learner.inner_steps,
            module=learner,
            every=getattr(learner, "every", None),
        )
        total: Tensor = carry[1]
        return total


@register("objective", why="fast adaptation first, final performance later")
class AnnealedSteps(InnerSteps):
    """Inner steps weighed alike at first, then less and less but for the last (MAML++).

    Args:
        over: share of the outer steps after which the last inner step alone counts. The authors take 10 or 15 of 100
            epochs.
        of: what is summed, or its name.

    Raises:
        InputError: `over` is not in (0, 1].
    """

    done: Tensor

    def __init__(self, over: float = 0.15, of: Objective | LossOfTask | str = "query_loss") -> None:
        super().__init__(of)
        if not 0 < over <= 1:
            raise InputError(f"over must be a share of the outer steps, above 0 and at most 1, not {over}")
        self.over = over
        # Of a recorded step tensors may change, numbers may not.
        self.register_buffer("done", torch.zeros(()))

    def schedule(self, done: float) -> None:
        """Take note of the share of outer steps that is done."""
        self.done.fill_(done)
        super().schedule(done)

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the weight of the loss after inner step number `step` (any shape) of 1..steps."""
        progress = self.done.to(step.device, torch.float64) / self.over
        early = torch.where(progress < 1, (1 - progress).clamp_min(LEAST) / steps, 0.0)
        return torch.where(step == steps, 1 - (steps - 1) * early, early)


@register("objective", why="fast adaptation: early inner steps most")
class DiscountedSteps(InnerSteps):
    """Inner steps weighed by w_t proportional to discount^(t-1), as reinforcement learning discounts what comes late.

    Args:
        discount: above 0 and at most 1; the smaller, the more haste.
        of: what is summed, or its name.

    Raises:
        InputError: the discount is out of range.
    """

    def __init__(self, discount: float = 0.9, of: Objective | LossOfTask | str = "query_loss") -> None:
        super().__init__(of)
        if not 0 < discount <= 1:
            raise InputError(f"discount must be above 0 and at most 1, not {discount}")
        self.discount = discount

    def weight(self, step: Tensor, steps: Tensor | int) -> Tensor:
        """Return the weight of the loss after inner step number `step` (any shape) of 1..steps."""
        whole = steps if self.discount == 1 else (1 - self.discount**steps) / (1 - self.discount)
        return self.discount ** (step - 1).to(torch.float64) / whole


def _zero(query: Examples) -> Tensor:
    return torch.zeros((), dtype=torch.long, device=query.labels.device)
