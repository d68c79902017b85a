"""Recurrent cells: what a sequence learner steps through time, one module a cell.

A cell is an `nn.Module` with `start(rows) -> state` and `forward(inputs (B, D), state) -> (outputs (B, O), state)`;
its attribute `outputs` is O. A state is a pytree of tensors with first dimension B. Second derivatives and vmap pass.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from quickstudy.functional import recurrent
from quickstudy.registry import register

State = Any
STRENGTH = 10.0
"""Strength of a memory's keys before training: one near 1 spreads a read over all slots, and no key is learned."""


@runtime_checkable
class Cell(Protocol):
    """What every cell offers."""

    outputs: int

    def start(self, rows: int) -> State:
        """Return the state of so many rows before the first step."""
        ...

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Make one step."""
        ...


class _Gated(nn.Module):
    """Weights of a gated cell, named, shaped and drawn as in torch.nn; PyTorch's own cells have no rule for vmap."""

    gates: int

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.outputs = hidden
        rows, bound = self.gates * hidden, 1 / math.sqrt(hidden)
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))
        self.bias_hh = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))

    @property
    def weights(self) -> tuple[Tensor, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

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

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Make one step: inputs (B, D) -> output h (B, H), state (h, c)."""
        h, c = recurrent.lstm_cell(inputs, state, *self.weights)
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

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Make one step: inputs (B, D) -> output h (B, H), state h."""
        h = recurrent.gru_cell(inputs, state, *self.weights)
        return h, h
