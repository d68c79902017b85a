"""The base of outer optimisers: an estimate of the meta-gradient, and an ordinary torch optimiser that applies it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn

from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.numbers import real, whole
from quickstudy.inner.differentiation import Differentiation, FirstOrder
from quickstudy.outer.muon import MuonAdamW

Schedule = Literal["constant", "cosine", "linear", "halving"]
OptimizerName = Literal["adam", "adamw", "sgd", "muon"]
SCHEDULES = ("constant", "cosine", "linear", "halving")
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "muon": MuonAdamW,
}


class Details(TypedDict, total=False):
    """The lesser keywords of `Outer`, which every outer optimiser passes on."""

    weight_decay: float
    momentum: float
    halve_every: int
    factors: Mapping[str, float] | None


class Following(Details, total=False):
    """All keywords of `Outer` that say how an estimate is followed."""

    optimizer: str
    clip: float | None
    schedule: Schedule


class Outer:
    """Base of outer optimisers.

    Args:
        lr: outer learning rate.
        optimizer: 'adam', 'adamw', 'sgd' or 'muon' (for matrices and convolutions, with AdamW for the rest).
        clip: largest norm of the meta-gradient; None leaves it.
        weight_decay: as in torch.optim.
        momentum: for 'sgd'.
        schedule: 'constant', 'cosine' or 'linear' (to zero at the end), or 'halving' (every `halve_every` steps).
        halve_every: outer steps, for 'halving'.
        factors: of the rate, for parameters whose name begins so: {'net.': 0.1} lets an embedding learn slowly.

    Raises:
        InputError: a rate or factor that is not positive, or an unknown name.
    """

    config: dict[str, Any]
    same_everywhere: ClassVar[bool] = True
    """Whether what lasts is the same for all processes of a run. Else it is lost when several of them go on anew."""

    def __init__(
        self,
        lr: float,
        optimizer: str = "adam",
        clip: float | None = None,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        schedule: Schedule = "constant",
        halve_every: int = 2000,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        if not lr > 0:
            raise InputError(f"outer lr must be positive, not {lr}")
        if optimizer not in OPTIMIZERS:
            raise unknown_name("outer optimizer", optimizer, OPTIMIZERS)
        if schedule not in SCHEDULES:
            raise unknown_name("schedule", schedule, SCHEDULES)
        if clip is not None and not clip > 0:
            raise InputError(f"clip must be positive or None, not {clip}")
        for prefix, factor in (factors or {}).items():
            if not factor > 0:
                raise InputError(f"the factor of '{prefix}' must be positive, not {factor}; freeze with requires_grad_")
        real("weight_decay", weight_decay, least=0)
        real("momentum", momentum, least=0, below=1)
        whole("halve_every", halve_every)
        self.factors = dict(factors or {})
        self.lr, self.name, self.clip, self.weight_decay = lr, optimizer, clip, weight_decay
        self.momentum, self.schedule, self.halve_every = momentum, schedule, halve_every

    def optimizer(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """Return the torch optimiser of the learner's named parameters; a group's 'factor' multiplies its rate.

        Raises:
            InputError: no parameter's name begins as one of `factors` says.
        """
        groups: dict[float, list[nn.Parameter]] = {}
        unused = set(self.factors)
        for name, parameter in parameters:
            prefix = next((prefix for prefix in self.factors if name.startswith(prefix)), None)
            unused.discard(prefix or "")
            groups.setdefault(1.0 if prefix is None else self.factors[prefix], []).append(parameter)
        if unused:
            raise InputError(f"no parameter's name begins with '{min(unused)}'; see learner.named_parameters()")
        # Fused: one call for all parameters, a third of the time for small nets.
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.name == "sgd":
            options["momentum"] = self.momentum
        named = [{"params": group, "factor": factor} for factor, group in groups.items()]
        return OPTIMIZERS[self.name](named, **options)

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

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Return why this optimiser cannot train such a learner for such an objective, or None if it can."""
        return None

    def as_trained(self, learner: Learner) -> Learner:
        """Return the learner that this optimiser trains: with the outer gradient passing its inner loop as it asks."""
        return learner

    def prepare(self, learner: Learner) -> None:
        """Get ready to train a learner, forgetting any other."""
        adapted: Any = getattr(learner, "adapted", None)
        if adapted is not None:
            # Inner loops take note of what is learned now: candidates' tensors will not tell.
            adapted.learned_now()

    def tasks_in_progress(self, tasks: Task) -> Task | None:
        """Return the tasks that are being trained on, if they are not the ones that were drawn for this step."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what lasts from one outer step to the next, besides parameters: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""

    def evaluations(self, tasks: int) -> int:
        """Return the evaluations of an outer step on so many tasks, once prepared: adaptations to one task with one set
        of parameters, and its loss. A derivative of it counts as part of the one."""
        return tasks

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Add an estimate of the meta-gradient to each parameter's `.grad`; return the losses.

        Where several processes train together, each has other tasks (T,) of the meta-batch. All must end with the same
        gradient, that of the whole, and with the losses (ranks.size * T,) of all tasks in order: `meta_loss.share`
        does both at once. Rules that exchange scores rather than gradients use `meta_loss.ranks`: its `mean` and
        `gather`.

        Args:
            meta_loss: the learner, its objective, and how many tasks are computed at once.
            tasks: T tasks.
            keys: (T,).
        """
        raise NotImplementedError


def without_derivative(objective: Objective) -> str | None:
    """Return why an objective has no gradient, or None if it has one: the reason of those who need one."""
    if objective.differentiable:
        return None
    return (
        f"the objective {objective.name} has no derivative; use an outer optimiser that needs none, such as "
        "outer.EvolutionStrategies or outer.PolicyGradient"
    )


def trainable(learner: Learner) -> dict[str, Tensor]:
    """Return the parameters that are learned, by name."""
    return {name: value for name, value in learner.named_parameters() if value.requires_grad}


def first_order(learner: Learner) -> Learner:
    """Return a learner whose inner gradients, if it has any, are constants to the outer one."""
    return with_differentiation(learner, FirstOrder())


def with_differentiation(learner: Learner, differentiation: Differentiation) -> Learner:
    """Return a learner with the outer gradient passing its inner loop, if it has one, in another way."""
    if not hasattr(learner, "differentiation"):
        return learner
    other: Any = copy.copy(learner)
    other.differentiation = differentiation
    return other  # type: ignore[no-any-return]
