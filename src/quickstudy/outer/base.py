"""What every outer optimiser is: an estimate of the meta-gradient, and an ordinary torch optimiser that follows it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.batching import TaskLosses
from quickstudy.core import Learner, Task
from quickstudy.errors import InputError, unknown_name
from quickstudy.ranks import ALONE, Ranks

Schedule = Literal["constant", "cosine", "linear", "halving"]
SCHEDULES = ("constant", "cosine", "linear", "halving")
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class Outer:
    """Base of outer optimisers.

    Args:
        lr: outer learning rate.
        optimizer: 'adam', 'adamw' or 'sgd'.
        clip: largest norm of the meta-gradient; None leaves it.
        weight_decay: as in torch.optim.
        momentum: for 'sgd'.
        schedule: 'constant', 'cosine' or 'linear' (to zero at the end), or 'halving' (every `halve_every` steps).
        halve_every: outer steps, for 'halving'.

    Raises:
        InputError: a rate that is not positive, or an unknown name.
    """

    config: dict[str, Any]

    def __init__(
        self,
        lr: float,
        optimizer: str = "adam",
        clip: float | None = None,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        schedule: Schedule = "constant",
        halve_every: int = 2000,
    ) -> None:
        if not lr > 0:
            raise InputError(f"outer lr must be positive, not {lr}")
        if optimizer not in OPTIMIZERS:
            raise unknown_name("outer optimizer", optimizer, OPTIMIZERS)
        if schedule not in SCHEDULES:
            raise unknown_name("schedule", schedule, SCHEDULES)
        if clip is not None and not clip > 0:
            raise InputError(f"clip must be positive or None, not {clip}")
        self.lr, self.name, self.clip, self.weight_decay = lr, optimizer, clip, weight_decay
        self.momentum, self.schedule, self.halve_every = momentum, schedule, halve_every

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the torch optimiser of the learner's parameters."""
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.name == "sgd":
            options["momentum"] = self.momentum
        return OPTIMIZERS[self.name](list(parameters), **options)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate at a step, a pure function, so that a resumed run goes on as it was."""
        done = step / max(1, steps)
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "linear":
            return self.lr * (1 - done)
        if self.schedule == "halving":
            return float(self.lr * 0.5 ** (step // self.halve_every))
        return self.lr

    def estimate(self, losses: TaskLosses, learner: Learner, tasks: Task, keys: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """Add an estimate of the meta-gradient to each parameter's `.grad`; return the losses.

        Where several processes train together, each has other tasks (T,) of the meta-batch. All must end with the same
        gradient, that of the whole, and with the losses (ranks.size * T,) of all tasks in order: `ranks.share` does
        both at once. Rules that exchange scores rather than gradients use `ranks.mean` and `ranks.gather`.
        """
        raise NotImplementedError
