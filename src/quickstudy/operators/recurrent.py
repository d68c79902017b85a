"""Recurrent layers written out, with the signatures of torch's own operators, which have no batching rule for vmap.

Equations as in the documentation of `torch.nn.LSTM`, `torch.nn.GRU` and `torch.nn.RNN`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Step = Callable[..., Any]
"""A function (product with the input, state, w_hh, b_hh) -> state."""


def lstm_step(
    seen: Tensor, state: Sequence[Tensor], w_hh: Tensor, b_hh: Tensor | None = None, w_hr: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One LSTM step: seen (B, 4H) = w_ih x + b_ih, state (h, c) -> (h', c')."""
    h, c = state
    i, f, g, o = (seen + F.linear(h, w_hh, b_hh)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if w_hr is None else F.linear(h, w_hr)), c


def gru_step(seen: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None = None) -> Tensor:
    """One GRU step: seen (B, 3H) = w_ih x + b_ih, h -> h'."""
    xr, xz, xn = seen.chunk(3, -1)
    hr, hz, hn = F.linear(h, w_hh, b_hh).chunk(3, -1)
    z = torch.sigmoid(xz + hz)
    n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (1 - z) * n + z * h


def rnn_tanh_step(seen: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None = None) -> Tensor:
    """One Elman step with tanh: seen (B, H) = w_ih x + b_ih, h -> h'."""
    return torch.tanh(seen + F.linear(h, w_hh, b_hh))


def rnn_relu_step(seen: Tensor, h: Tensor, w_hh: Tensor, b_hh: Tensor | None = None) -> Tensor:
    """One Elman step with ReLU: seen (B, H) = w_ih x + b_ih, h -> h'."""
    return torch.relu(seen + F.linear(h, w_hh, b_hh))


def _cell(step: Step) -> Callable[..., Any]:
    def cell(
        x: Tensor,
        state: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
        *rest: Tensor | None,
    ) -> Any:
        return step(F.linear(x, w_ih, b_ih), state, w_hh, b_hh, *rest)

    return cell


lstm_cell = _cell(lstm_step)
gru_cell = _cell(gru_step)
rnn_tanh_cell = _cell(rnn_tanh_step)
rnn_relu_cell = _cell(rnn_relu_step)


def _scan(step: Step, x: Tensor, state: Any, weights: Sequence[Any], reverse: bool) -> tuple[Tensor, Any]:
    """Run over time: x (L, B, I) -> outputs (L, B, H) and the last state."""
    w_ih, w_hh, b_ih, *rest = weights
    outputs = []
    # The inputs' part is one product for all steps, and so is its gradient.
    seen = F.linear(x, w_ih, b_ih)
    for row in seen.flip(0) if reverse else seen:
        state = step(row, state, w_hh, *rest)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    stacked = torch.stack(outputs)
    return (stacked.flip(0) if reverse else stacked), state


def _layers(
    step: Step,
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
            weights: list[Tensor | None] = list(params[k * count : (k + 1) * count])
            if not has_biases:
                # A projection matrix comes after the biases in the step's signature.
                weights = [*weights[:2], None, None, *weights[2:]]
            output, state = _scan(step, x, states[k], weights, reverse=direction == 1)
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
        if dropout and train and layer < num_layers - 1:
            x = F.dropout(x, dropout)
    return (x.transpose(0, 1) if batch_first and input.ndim == 3 else x), last


def pack_padded(*args: Any, **kwargs: Any) -> Any:
    """Refuse to pack sequences."""
    raise NotImplementedError("packed sequences have rows of different lengths; pad and mask them instead")


def _refuse_packed(second: Any) -> None:
    if isinstance(second, Tensor) and second.dtype == torch.int64:
        pack_padded()


def lstm(input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lstm` for padded sequences."""
    _refuse_packed(hx)
    states = [(h, c) for h, c in zip(hx[0], hx[1], strict=True)]
    output, last = _layers(lstm_step, input, states, params, *options)
    return output, torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])


def _plain(step: Step) -> Callable[..., tuple[Tensor, Tensor]]:
    def layer(input: Tensor, hx: Tensor, params: Sequence[Tensor], *options: Any) -> tuple[Tensor, Tensor]:
        _refuse_packed(hx)
        output, last = _layers(step, input, list(hx), params, *options)
        return output, torch.stack(last)

    return layer


gru = _plain(gru_step)
rnn_tanh = _plain(rnn_tanh_step)
rnn_relu = _plain(rnn_relu_step)
