"""Plastic connections: weights with a trace that changes as the net runs, by rules whose parameters are learned.

Rules map (trace, x (D,), y (N,)) to the next trace, for activities x before and y after the connections. A trace is a
pytree whose first leaf is Hebb (D, N).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.functional.numbers import whole
from quickstudy.registry import register

Trace = tuple[Tensor, ...]


class TraceRule(nn.Module):
    """Base of rules: the trace begins with Hebb = 0."""

    def start(self, like: Tensor) -> Trace:
        """Return the trace before the first step, for weights (D, N)."""
        return (torch.zeros_like(like),)

    def forward(self, trace: Trace, x: Tensor, y: Tensor) -> Trace:
        """Return the trace after a step."""
        raise NotImplementedError


@register("net")
class Hebbian(TraceRule):
    """Hebb' = (1 - eta) Hebb + eta x y^T (Miconi et al. 2018, equation 2), which forgets at a learned rate.

    Args:
        eta: where the learned rate starts.
    """

    def __init__(self, eta: float = 0.1) -> None:
        super().__init__()
        self.eta = nn.Parameter(torch.tensor(float(eta)))

    def forward(self, trace: Trace, x: Tensor, y: Tensor) -> Trace:
        """Return the trace after a step."""
        return ((1 - self.eta) * trace[0] + self.eta * torch.outer(x, y),)


@register("net")
class Oja(TraceRule):
    """Hebb' = Hebb + eta y (x - y Hebb) (Miconi et al. 2018, equation 3), which keeps what no input overwrites.

    Args:
        eta: where the learned rate starts.
    """

    def __init__(self, eta: float = 0.1) -> None:
        super().__init__()
        self.eta = nn.Parameter(torch.tensor(float(eta)))

    def forward(self, trace: Trace, x: Tensor, y: Tensor) -> Trace:
        """Return the trace after a step."""
        return (trace[0] + self.eta * y * (x.unsqueeze(1) - y * trace[0]),)


@register("net")
class Neuromodulated(TraceRule):
    """Hebb' = clip(Hebb + M x y^T) with M = tanh(m(x, y)), the net's own signal when to learn (Miconi et al. 2019).

    This is equation 3 there, and equations 4 and 5 if retroactive.

    Args:
        inputs: D, size of x.
        outputs: N, size of y.
        retroactive: M gates an eligibility trace, E' = (1 - eta) E + eta x y^T, rather than the present product.
        eta: where the learned rate of the eligibility trace starts.
    """

    def __init__(self, inputs: int, outputs: int, retroactive: bool = False, eta: float = 0.1) -> None:
        super().__init__()
        self.modulator = nn.Linear(inputs + outputs, 1)
        self.eta = nn.Parameter(torch.tensor(float(eta))) if retroactive else None

    def start(self, like: Tensor) -> Trace:
        """Return zeros: Hebb, and the eligibility trace where there is one."""
        return (torch.zeros_like(like),) * (1 if self.eta is None else 2)

    def forward(self, trace: Trace, x: Tensor, y: Tensor) -> Trace:
        """Return the trace after a step."""
        signal = torch.tanh(self.modulator(torch.cat([x, y])))
        product = torch.outer(x, y)
        if self.eta is None:
            return ((trace[0] + signal * product).clamp(-1, 1),)
        hebb, eligible = trace
        return (hebb + signal * eligible).clamp(-1, 1), (1 - self.eta) * eligible + self.eta * product


@register("net")
class PlasticLinear(nn.Module):
    """A linear layer of weights w + alpha Hebb, each connection with its own learned plasticity alpha (equation 1).

    Args:
        inputs: D.
        outputs: N.
        rule: how the trace changes; None is `Hebbian()`.
    """

    def __init__(self, inputs: int, outputs: int, rule: TraceRule | None = None) -> None:
        super().__init__()
        whole("inputs", inputs)
        self.w = nn.Parameter(0.01 * torch.randn(inputs, outputs))
        self.alpha = nn.Parameter(0.01 * torch.randn(inputs, outputs) + 1 / inputs**0.5)
        self.rule = Hebbian() if rule is None else rule

    def start(self) -> Trace:
        """Return the trace of a net that has seen nothing."""
        found: Trace = self.rule.start(self.w)
        return found

    def forward(self, x: Tensor, trace: Trace) -> Tensor:
        """Return (R, N) for x (R, D)."""
        return x @ (self.w + self.alpha * trace[0])

    def learn(self, trace: Trace, x: Tensor, y: Tensor) -> Trace:
        """Return the trace after activities x (D,) and y (N,)."""
        found: Trace = self.rule(trace, x, y)
        return found
