"""Truncated back-propagation through inner loops that persist.

Werbos 1990, "Backpropagation Through Time"; Williams & Peng 1990, for recurrent nets. Here the recurrence is learning:

    state_{t+K}, loss = K inner steps from state_t         (state_t a constant)
    gradient          = d loss / d omega                   (through these K steps alone)

Biased: how omega brought the loop to state_t is left out, so that what pays late is undervalued (Wu et al. 2018,
"Understanding Short-Horizon Bias in Stochastic Meta-Optimization"). With one task and K = 1 it is the online
hyper-gradient (Baydin et al. 2018); with K at least the loop's length it is `outer.Gradient`.
"""

from __future__ import annotations

import copy
from typing import Any, Unpack

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.operators import trees
from quickstudy.outer.base import Details, Schedule, without_derivative
from quickstudy.outer.persistent import Persistent, joined
from quickstudy.registry import register


@register("outer", how="gradient through segments of a persistent inner loop")
class Truncated(Persistent):
    """Back-propagates through `length` inner steps, and goes on from there at the next outer step.

    Args:
        length: inner steps of a segment (K).
        lr: outer learning rate.
        optimizer: 'adam', 'adamw', 'sgd' or 'muon'.
        clip: largest norm of the meta-gradient; None leaves it.
        schedule: of the rate.
        details: other keywords of `outer.Outer`.
    """

    def __init__(
        self,
        length: int = 20,
        lr: float = 1e-3,
        optimizer: str = "adam",
        clip: float | None = 1.0,
        schedule: Schedule = "constant",
        **details: Unpack[Details],
    ) -> None:
        super().__init__(length, lr, optimizer=optimizer, clip=clip, schedule=schedule, **details)

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need a gradient that passes through inner steps."""
        reason = super().refuses(learner, objective) or without_derivative(objective)
        differentiation = getattr(learner, "differentiation", None)
        if reason is None and not isinstance(differentiation, Unrolled | FirstOrder | None):
            return (
                f"{type(differentiation).__name__} gradients are of a loop's end, not of its steps; use "
                "outer.Gradient, or let the learner's gradient pass Unrolled or FirstOrder"
            )
        if reason is None and getattr(learner, "learns_only_start", False):
            # A constant from the second segment on, the start is judged by the first one alone.
            total = int(learner.inner_steps)  # type: ignore[arg-type]
            if not _counts(objective, self.length, total):
                return (
                    f"{type(learner).__name__} learns where its {total} inner steps start, of which a "
                    f"first segment of {self.length} steps says nothing for {objective.name}; use a longer "
                    "segment, objectives.InnerSteps, or outer.Gradient"
                )
        return reason

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Take all loops a segment further, and back-propagate through it."""
        slots, total = self.slots(meta_loss.learner, tasks, keys), len(keys)
        weights = torch.full((total,), 1 / total, device=keys.device)
        loops = (slots.states, slots.tasks, slots.keys, slots.done, weights)
        parts = [meta_loss.recorded(self._backward, part) for part in batching.chunks(loops, meta_loss.chunk_size)]
        shown, slots.states = joined(parts)
        slots.done = slots.done + self.length
        return meta_loss.share(shown)

    def _backward(self, meta_loss: MetaLoss, loops: tuple[Any, ...]) -> tuple[Tensor, Any]:
        *arguments, weights = loops
        states, share, shown = batching.map_tasks(lambda *loop: self.segment(meta_loss, loop), *arguments)
        total = (share * weights).sum()
        if total.requires_grad:
            total.backward()
        return shown, trees.map_leaves(Tensor.detach, states)


def _counts(objective: Objective, length: int, total: int) -> bool:
    """Return whether an objective looks at the first steps, at the end of training too."""
    objective = copy.deepcopy(objective)
    objective.schedule(1.0)
    steps = torch.arange(1, min(length, total) + 1)
    return bool(objective.weight(steps, total).any())
