"""Recurrent cells, which a sequence learner steps through time. Each cell is one module.

A cell is an `nn.Module` with `start(rows) -> state` and `forward(inputs (B, D), state) -> (outputs (B, O), state)`; its
attribute `outputs` is O. A state is a pytree of tensors with first dimension B. Second derivatives and vmap pass. A
cell may also offer `steps(inputs (L, B, D))`, which the function `steps` here uses. Products with inputs alone are then
one product for all steps, and so is their gradient, in place of a small one for each step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.functional.numbers import whole
from quickstudy.operators import recurrent
from quickstudy.registry import register

State = Any
STRENGTH = 10.0
"""Strength of a memory's keys before training: one near 1 spreads a read over all slots, and no key is learned."""


@runtime_checkable
class Cell(Protocol):
    """The methods that every cell offers."""

    outputs: int

    def start(self, rows: int) -> State:
        """Return the state of a number of rows before the first step."""
        ...

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Make one step."""
        ...


Step = Callable[[State], tuple[Tensor, State]]
"""(state) -> (outputs (B, O), state)."""


def steps(cell: Any, inputs: Tensor) -> Iterator[Step]:
    """Yield a cell's step for each of the rows (L, B, D) that it reads."""
    if hasattr(cell, "steps"):
        yield from cell.steps(inputs)
    else:
        for rows in inputs:
            yield functools.partial(cell, rows)


class _Gated(nn.Module):
    """Weights of a gated cell, named, shaped and drawn as in torch.nn; PyTorch's own cells have no rule for vmap."""

    gates: int

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.outputs = hidden
        whole("hidden", hidden)
        rows, bound = self.gates * hidden, 1 / math.sqrt(hidden)
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))
        self.bias_hh = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))

    def seen(self, inputs: Tensor) -> Tensor:
        """Return the part of the gates' sums that comes from inputs (..., D)."""
        return F.linear(inputs, self.weight_ih, self.bias_ih)

    def steps(self, inputs: Tensor) -> Iterator[Step]:
        """Yield the step for each of the rows (L, B, D)."""
        for rows in self.seen(inputs):
            yield functools.partial(self.step, rows)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Make one step: inputs (B, D) -> outputs (B, H), state."""
        return self.step(self.seen(inputs), state)

    def step(self, seen: Tensor, state: State) -> tuple[Tensor, State]:
        """Make one step, given the part of the gates' sums that comes from the inputs."""
        raise NotImplementedError

    def zeros(self, rows: int) -> Tensor:
        return self.bias_ih.new_zeros(rows, self.outputs)


@register("net")
class LSTMCell(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), equations and weights as in torch.nn.LSTM.

    Args:
        inputs: size D of an input.
        hidden: size of the state and of the output.
    """

    gates = 4

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)

    def start(self, rows: int) -> tuple[Tensor, Tensor]:
        """Return zeros (B, H) for h and c."""
        return self.zeros(rows), self.zeros(rows)

    def step(self, seen: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return output h (B, H), state (h, c)."""
        h, c = recurrent.lstm_step(seen, state, self.weight_hh, self.bias_hh)
        return h, (h, c)


@register("net")
class GRUCell(_Gated):
    """Gated recurrent unit (Cho et al. 2014), equations and weights as in torch.nn.GRU.

    Args:
        inputs: size D of an input.
        hidden: size of the state and of the output.
    """

    gates = 3

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)

    def start(self, rows: int) -> Tensor:
        """Return zeros (B, H)."""
        return self.zeros(rows)

    def step(self, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return output h (B, H), state h."""
        h = recurrent.gru_step(seen, state, self.weight_hh, self.bias_hh)
        return h, h
