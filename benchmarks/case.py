"""What a case is: some work, in several settings, and who does it.

A case is one file in `benchmarks/cases` that defines `CASE`. `Case.problem` makes the work (initial weights and tasks,
the same for everybody); an implementation is a module with `build(problem, context, **options) -> Step`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Setting = dict[str, Any]
"""What varies within a case, such as {"tasks": 16, "steps": 5}."""


class AbsentError(Exception):
    """An implementation cannot take part in a setting; the message says why."""


@dataclass(frozen=True)
class Context:
    """How work is to be done."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    learn2learn: str | None = None
    """Path of a checkout of learn2learn."""


class Pump(Protocol):
    """Tells a loop whether to make one more step (`benchmarks.worker`)."""

    def tick(self) -> bool:
        """Return False when it is time to end."""
        ...


class Step:
    """An implementation of a problem, ready to run."""

    def step(self) -> None:
        """Do the work once: for training one outer step, which is loss, meta-gradient and update."""
        raise NotImplementedError

    def check(self) -> dict[str, Tensor]:
        """Return what implementations must agree on, at the initial weights: 'loss' and 'gradient of <parameter>'."""
        raise NotImplementedError

    def loop(self, pump: Pump) -> None:
        """Step for as long as the pump says so."""
        while pump.tick():
            self.step()


class TorchStep(Step):
    """Outer step of PyTorch implementations: zero gradients, back-propagate a loss, Adam.

    Args:
        net: holds the parameters that are meta-learned.
        prefix: what their names begin with here, but not in other implementations.
    """

    def __init__(self, net: nn.Module, prefix: str = "") -> None:
        self.named = {name.removeprefix(prefix): p for name, p in net.named_parameters()}
        self.optimizer = torch.optim.Adam(self.named.values(), lr=1e-3)

    def backward(self) -> Tensor:
        """Return the mean loss of the tasks, and leave its gradient in the parameters."""
        raise NotImplementedError

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.backward()
        self.optimizer.step()

    def check(self) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.backward()
        return {"loss": loss.detach(), **gradients(self.named)}


def gradients(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of parameters, for `Step.check`."""
    return {f"gradient of {name}": torch.zeros_like(p) if p.grad is None else p.grad for name, p in named.items()}


@dataclass(frozen=True)
class Implementation:
    """Who does a case's work.

    Attributes:
        module: where `build` is, within `benchmarks`; or that function itself.
        options: further arguments of `build`.
        ours: whether it is Quickstudy; the others are rivals.
        exact: whether it is checked in float64; False where it is known to round, or another row is the same code.
        tolerance: largest relative error of the loss, and of the whole gradient, in the dtype in which it is timed.
        checks: 'all'; 'loss' where the gradient is knowingly rounded, as in bf16; 'nothing' where the results are meant
            to differ, which its name must say.
        dtype: of the arithmetic, where it is not the run's.
        compiles: whether its first step takes long, whatever was done before.
        quick: whether it takes part in quick runs, too.
        unless: returns why it sits out a setting, or None.
    """

    module: str | Callable[..., Step]
    options: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False
    exact: bool = True
    tolerance: float = 1e-1
    checks: str = "all"
    dtype: str | None = None
    compiles: bool = False
    quick: bool = True
    unless: Callable[[Setting], str | None] = lambda setting: None

    def build(self, problem: Any, context: Context) -> Step:
        """Return the implementation of a problem."""
        # Imported only now, in the implementation's own process.
        make = self.module if callable(self.module) else import_module(f"benchmarks.{self.module}").build
        step: Step = make(problem, context, **self.options)
        return step


@dataclass(frozen=True)
class Case:
    """Some work, in several settings.

    Attributes:
        title: for tables.
        unit: what is done once a step, such as 'outer step'.
        problem: makes the work of a setting.
        settings: what is measured.
        quick: what is measured with `--quick`.
        implementations: by name, in the order of tables.
        reference: name of the one that the others are compared with; the first one where None.
        small: a smaller setting with the same arithmetic, on which agreement in float64 is checked.
        curves: whether it is drawn as curves; settings then have an `axis`, the key that varies.
    """

    title: str
    unit: str
    problem: Callable[[Setting, Context], Any]
    settings: tuple[Setting, ...]
    quick: tuple[Setting, ...]
    implementations: Mapping[str, Implementation]
    reference: str | None = None
    small: Callable[[Setting], Setting] = lambda setting: {**setting, "tasks": min(2, setting.get("tasks", 1))}
    curves: bool = False


def names() -> list[str]:
    """Return the names of all cases."""
    package = import_module("benchmarks.cases")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(name: str) -> Case:
    """Return a case by the name of its file in `benchmarks/cases`, or of any other module that defines `CASE`."""
    module = import_module(f"benchmarks.cases.{name}" if name in names() else name)
    case: Case = module.CASE
    return case


def label(setting: Setting) -> str:
    """Return a setting as text; of a point of a curve only what varies."""
    if "axis" in setting:
        return _count(setting[setting["axis"]], setting["axis"])
    return ", ".join(_count(value, key) if isinstance(value, int) else str(value) for key, value in setting.items())


def _count(value: int, key: str) -> str:
    return f"{value:,} {key.removesuffix('s') if value == 1 else key}"
