"""Recurrent layers written out, with the signatures of torch's own operators, which have no batching rule for vmap.

Equations as in the documentation of `torch.nn.LSTM`, `torch.nn.GRU` and `torch.nn.RNN`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import UnsupportedLayerError

Cell = Callable[..., Any]


def lstm_cell(
    x: Tensor,
    state: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One LSTM step: x (B, I), state (h, c) -> (h', c')."""
    h, c = state
    i, f, g, o = (F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if w_hr is None else F.linear(h, w_hr)), c


def gru_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One GRU step: x (B, I), h (B, H) -> h'."""
    xr, xz, xn = F.linear(x, w_ih, b_ih).chunk(3, -1)
    hr, hz, hn = F.linear(h, w_hh, b_hh).chunk(3, -1)
    z = torch.sigmoid(xz + hz)
    n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (1 - z) * n + z * h


def rnn_tanh_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One Elman step with tanh."""
    return torch.tanh(F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh))


def rnn_relu_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One Elman step with ReLU."""
    return torch.relu(F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh))


def _scan(cell: Cell, x: Tensor, state: Any, weights: Sequence[Tensor], reverse: bool) -> tuple[Tensor, Any]:
    """Run a cell over time: x (L, B, I) -> outputs (L, B, H) and the last state."""
    outputs = []
    for step in x.flip(0) if reverse else x:
        state = cell(step, state, *weights)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    stacked = torch.stack(outputs)
    return (stacked.flip(0) if reverse else stacked), state


def _layers(
    cell: Cell,
    input: Tensor,
    states: Sequence[Any],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, list[Any]]:
    directions = 2 if bidirectional else 1
    count = len(params) // (num_layers * directions)
    x = input.transpose(0, 1) if batch_first and input.ndim == 3 else input
    last = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            weights = list(params[k * count : (k + 1) * count])
            if not has_biases:
                # A projection matrix comes after the biases in the cell's signature.
                weights = [*weights[:2], *([None, None, weights[2]] if len(weights) > 2 else [])]  # type: ignore[list-item]
            output, state = _scan(cell, x, states[k], weights, reverse=direction == 1)
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
        if dropout and train and layer < num_layers - 1:
            x = F.dropout(x, dropout)
    return (x.transpose(0, 1) if batch_first and input.ndim == 3 else x), last


def _refuse_packed(second: Any) -> None:
    if isinstance(second, Tensor) and second.dtype == torch.int64:
        raise UnsupportedLayerError("packed sequences cannot be batched over tasks; pad and mask them instead")


def lstm(input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lstm` for padded sequences."""
    _refuse_packed(hx)
    states = [(h, c) for h, c in zip(hx[0], hx[1], strict=True)]
    output, last = _layers(lstm_cell, input, states, params, *options)
    return output, torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])


def _plain(cell: Cell) -> Callable[..., tuple[Tensor, Tensor]]:
    def layer(input: Tensor, hx: Tensor, params: Sequence[Tensor], *options: Any) -> tuple[Tensor, Tensor]:
        _refuse_packed(hx)
        output, last = _layers(cell, input, list(hx), params, *options)
        return output, torch.stack(last)

    return layer


gru = _plain(gru_cell)
rnn_tanh = _plain(rnn_tanh_cell)
rnn_relu = _plain(rnn_relu_cell)
