"""Regression tasks: families of functions to be learned from a few points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import unknown_name
from quickstudy.functional import random
from quickstudy.functional.numbers import real, whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.data.few_shot import Range, parse_range


class FunctionTasks(TaskDistribution):
    """Base of regression families on one input: subclasses draw parameters and say what function they give.

    Args:
        shots: support points a task, a number or a range (low, high) drawn for each task and padded.
        queries: query points a task.
        noise: standard deviation of the noise added to support targets, and to query targets where the family's paper
            does so (`noisy_queries`).
        seed: the stream's seed.

    Raises:
        InputError: a number is out of its range, or no number.
    """

    metric = "mse"
    low, high = -5.0, 5.0

    noisy_queries: ClassVar[bool] = False

    def __init__(self, shots: Range = 10, queries: int = 10, noise: float = 0.0, seed: int = 0) -> None:
        super().__init__(seed)
        self.fewest, self.most = parse_range("shots", shots)
        queries, noise = whole("queries", queries), real("noise", noise, least=0)
        self.shots, self.queries, self.noise = shots, queries, noise

    def parameters(self, keys: Tensor) -> Plan:
        """Return the parameters of each task's function, each (T,) or (T, ...)."""
        raise NotImplementedError

    def evaluate(self, parameters: Plan, x: Tensor) -> Tensor:
        """Return the function's values at x (T, S)."""
        raise NotImplementedError

    def plan(self, indices: Tensor) -> Plan:
        """Return parameters, points and noise."""
        keys = self.keys(indices)
        x = self.low + (self.high - self.low) * random.uniform(random.fold_in(keys, 1), self.most + self.queries)
        plan = {
            **{f"parameter.{name}": value for name, value in self.parameters(random.fold_in(keys, 2)).items()},
            "x": x,
            "noise": self.noise * random.normal(random.fold_in(keys, 3), x.shape[1]),
        }
        if self.fewest < self.most:
            plan["shown"] = self.fewest + random.below(random.fold_in(keys, 4), self.most - self.fewest + 1)
        return plan

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, 1) and targets (T, S, 1)."""
        parameters = {name[10:]: value for name, value in plan.items() if name.startswith("parameter.")}
        x = plan["x"]
        y = self.evaluate(parameters, x)
        k = self.most
        noisy = y + plan["noise"]
        y = noisy if self.noisy_queries else torch.cat([noisy[:, :k], y[:, k:]], 1)
        x, y = x.unsqueeze(-1), y.unsqueeze(-1)
        shown = plan.get("shown")
        mask = None if shown is None else torch.arange(k, device=x.device) < shown.unsqueeze(1)
        return Task(
            Examples(x[:, :k], y[:, :k], mask, check=False),
            Examples(x[:, k:], y[:, k:], check=False),
        )

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "shots": _plain(self.shots), "queries": self.queries, "noise": self.noise}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shots={self.shots}, queries={self.queries}, noise={self.noise})"


def _plain(shots: Range) -> int | list[int]:
    return shots if isinstance(shots, int) else [int(each) for each in shots]


def _between(keys: Tensor, purpose: int, low: float, high: float) -> Tensor:
    return low + (high - low) * random.uniform(random.fold_in(keys, purpose))


@register("tasks")
class Sinusoid(FunctionTasks):
    """y = a sin(x - phi): a in [0.1, 5], phi in [0, pi], x in [-5, 5] (Finn et al. 2017, section 5.1)."""

    name = "sinusoid"

    def parameters(self, keys: Tensor) -> Plan:
        """Draw amplitude and phase."""
        return {"amplitude": _between(keys, 1, 0.1, 5.0), "phase": _between(keys, 2, 0.0, math.pi)}

    def evaluate(self, parameters: Plan, x: Tensor) -> Tensor:
        """Return a sin(x - phi)."""
        return parameters["amplitude"].unsqueeze(1) * torch.sin(x - parameters["phase"].unsqueeze(1))


_MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # Parameter ranges of Vuorio et al. 2019; u is (T, 4) uniform in [0, 1).
    "sine": lambda u, x: (0.1 + 4.9 * u[:, :1]) * torch.sin(x - math.pi * u[:, 1:2]),
    "sinusoid": lambda u, x: (0.1 + 4.9 * u[:, :1]) * torch.sin((0.5 + 1.5 * u[:, 1:2]) * x + 2 * math.pi * u[:, 2:3]),
    "linear": lambda u, x: (-3 + 6 * u[:, :1]) * x + (-3 + 6 * u[:, 1:2]),
    "quadratic": lambda u, x: (
        torch.where(u[:, 3:4] < 0.5, -1.0, 1.0) * (0.02 + 0.13 * u[:, :1]) * (x - (-3 + 6 * u[:, 1:2])).square()
        + (-3 + 6 * u[:, 2:3])
    ),
    "tanh": lambda u, x: (-3 + 6 * u[:, :1]) * torch.tanh(x - (-3 + 6 * u[:, 1:2])) + (-3 + 6 * u[:, 2:3]),
    "l1": lambda u, x: (
        torch.where(u[:, 3:4] < 0.5, -1.0, 1.0) * (0.02 + 0.13 * u[:, :1]) * (x - (-3 + 6 * u[:, 1:2])).abs()
        + (-3 + 6 * u[:, 2:3])
    ),
}


@register("tasks")
class MultiModal(FunctionTasks):
    """Tasks from several unlike families of functions.

    Vuorio et al. 2019, "Multimodal Model-Agnostic Meta-Learning via Task-Aware Modulation", regression experiments.

    As the paper describes them. The authors' code, from which its figures are, differs: sinusoids are a sin(x - phi)
    with phi in [0, pi] (the mode 'sine' here), absolute values have slopes in [-3, 3], every meta-batch has as many
    tasks of each family, and of the 10 samples a task that it is run with, 5 are the support and 5 the query. Queries
    are noisy as the support is, so no learner's error falls below the noise's variance.

    Args:
        modes: names among sine, sinusoid, linear, quadratic, tanh, l1; each task draws one.
        shots: support points a task.
        queries: query points a task.
        noise: standard deviation of the noise on all targets (0.3 in the paper).
        seed: the stream's seed.
    """

    name = "multi-modal"
    noisy_queries = True

    def __init__(
        self,
        modes: tuple[str, ...] = ("sinusoid", "linear"),
        shots: int = 10,
        queries: int = 10,
        noise: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(shots, queries, noise, seed)
        for mode in modes:
            if mode not in _MODES:
                raise unknown_name("mode", mode, _MODES)
        self.modes = tuple(modes)

    def parameters(self, keys: Tensor) -> Plan:
        """Draw a mode and four numbers that its function reads."""
        return {
            "mode": random.below(random.fold_in(keys, 1), len(self.modes)),
            "u": random.uniform(random.fold_in(keys, 2), 4),
        }

    def evaluate(self, parameters: Plan, x: Tensor) -> Tensor:
        """Return the values of each task's mode."""
        values = torch.stack([_MODES[mode](parameters["u"], x) for mode in self.modes], 1)
        return values.gather(1, parameters["mode"].reshape(-1, 1, 1).expand(-1, 1, x.shape[1])).squeeze(1)


@register("tasks")
class Linear(FunctionTasks):
    """y = w x + b with w, b standard normal: the smallest family, whose best learner is known in closed form."""

    name = "linear"

    def parameters(self, keys: Tensor) -> Plan:
        """Draw slope and intercept."""
        return {"w": random.normal(random.fold_in(keys, 1)), "b": random.normal(random.fold_in(keys, 2))}

    def evaluate(self, parameters: Plan, x: Tensor) -> Tensor:
        """Return w x + b."""
        return parameters["w"].unsqueeze(1) * x + parameters["b"].unsqueeze(1)
