"""The base of cells with an external memory: a controller LSTM, whose output and whose input the heads see.

    h_t = LSTM([x_t, r_{t-1}], h_{t-1}),   heads = A h_t + B x_t + c

where r_{t-1} is the last reading. Both products with x_t are one product for all steps of a sequence (`steps`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.nets.recurrent import LSTMCell, State, Step
from quickstudy.operators.recurrent import lstm_step


class Controlled(nn.Module):
    """Base of memories. A subclass makes the controller and the heads' linear layers, and defines what heads do.

    Its states have the controller's state as `controller`, and the last reading (B, R) as `reads`.
    """

    heads_are: ClassVar[tuple[str, ...]]
    """Names of the linear layers, from h and x, that make what `address` is given."""
    controller: LSTMCell

    def start(self, rows: int) -> Any:
        """Return the state of so many rows before the first step."""
        raise NotImplementedError

    def address(self, heads: Sequence[Any], state: Any, controller: tuple[Tensor, Tensor]) -> Any:
        """Return the state after writing and reading, given what each linear layer makes (B, ...)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Make one step: inputs (B, D) -> the controller's output with what was read (B, outputs), and the state."""
        (step,) = self.steps(inputs.unsqueeze(0))
        return step(state)

    def steps(self, inputs: Tensor) -> Iterator[Step]:
        """Yield the step for each of the rows (L, B, D)."""
        lstm, layers, size = self.controller, [getattr(self, name) for name in self.heads_are], inputs.shape[-1]
        # Weights are split once for all steps: the gradient of a part is as large as the whole.
        from_inputs = torch.cat([lstm.weight_ih[:, :size], *(layer.weight[:, -size:] for layer in layers)])
        biases = torch.cat([lstm.bias_ih + lstm.bias_hh, *(layer.bias for layer in layers)])
        fed_back = torch.cat([lstm.weight_ih[:, size:], lstm.weight_hh], 1)
        to_heads = [layer.weight[:, :-size] for layer in layers]
        sizes = [len(fed_back), *(len(layer.bias) for layer in layers)]
        given = torch.split(F.linear(inputs, from_inputs, biases), sizes, -1)
        for seen in zip(*given, strict=True):
            yield functools.partial(self._step, seen, fed_back, to_heads)

    def _step(
        self, seen: tuple[Tensor, ...], fed_back: Tensor, to_heads: list[Tensor], state: Any
    ) -> tuple[Tensor, State]:
        h, c = state.controller
        h, c = lstm_step(seen[0], (torch.cat([state.reads, h], -1), c), fed_back)
        heads = tuple(given + F.linear(h, weight) for given, weight in zip(seen[1:], to_heads, strict=True))
        state = self.address(heads, state, (h, c))
        return torch.cat([h, state.reads], -1), state
