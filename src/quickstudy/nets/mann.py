"""The memory of Santoro et al. 2016, "One-shot Learning with Memory-Augmented Neural Networks", section 3.

A controller LSTM reads the input and the last reading. For each of H heads it gives a key k, a value v, a strength and
a gate. With usage w^u and the H least used slots w^lu (equations 2-8):

    w^r = softmax(strength * cosine(tanh(k), M)),   r = w^r M
    w^w = sigmoid(alpha) w^r_{t-1} + (1 - sigmoid(alpha)) w^lu_{t-1}
    M_t = erase the least used slots of M_{t-1}, then add w^w tanh(k_{t-1} + v)
    w^u_t = gamma w^u_{t-1} + w^r + w^w

Departures. The paper writes the key of the same step, so its controller must learn to recall the row before. Here the
key of the row before is written, with a value added, since the label that comes now belongs to that row. The heads see
the input beside the controller's output, so that a key depends on the row from the start. Keys have the Neural Turing
machine's strength, as cosines alone cannot point at one of 128 slots. A step reads before it writes, since a head that
had just written its key would find itself; the paper leaves the order open. Head j writes to the j-th least used slot,
so that its weights sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.functional.addressing import content_weights, least_used
from quickstudy.functional.numbers import real
from quickstudy.nets.controlled import Controlled
from quickstudy.nets.recurrent import STRENGTH, LSTMCell
from quickstudy.registry import register


class MANNState(NamedTuple):
    """State of B rows."""

    memory: Tensor
    """(B, M, W) contents of the slots."""
    usage: Tensor
    """(B, M) how much each slot was read and written, decaying over time."""
    read_weights: Tensor
    """(B, H, M) weights of the last reading of each head over the slots."""
    write_weights: Tensor
    """(B, H, M) weights of the last writing of each head over the slots."""
    keys: Tensor
    """(B, H, W) keys of this step, which the next step writes."""
    reads: Tensor
    """(B, H * W) numbers that were read last."""
    controller: tuple[Tensor, Tensor]


@register("net")
class MANNCell(Controlled):
    """A controller LSTM with an external memory whose least recently used slots are written.

    Args:
        inputs: size D of an input.
        hidden: width of the controller.
        slots: memory slots M.
        width: numbers W of a slot.
        heads: heads H, each of which reads and writes.
        decay: gamma, how much of the usage stays from step to step.
    """

    heads_are = ("interface",)

    def __init__(
        self, inputs: int, hidden: int = 200, slots: int = 128, width: int = 40, heads: int = 4, decay: float = 0.95
    ) -> None:
        super().__init__()
        self.slots, self.width, self.heads, self.decay = slots, width, heads, real("decay", decay, least=0, most=1)
        self.controller = LSTMCell(inputs + heads * width, hidden)
        self.interface = nn.Linear(hidden + inputs, heads * (2 * width + 2))
        self.outputs = hidden + heads * width
        with torch.no_grad():
            self.interface.bias.view(heads, 2 * width + 2)[:, -2] = STRENGTH

    def start(self, rows: int) -> MANNState:
        """Return an empty memory."""
        like = self.interface.bias
        return MANNState(
            memory=like.new_zeros(rows, self.slots, self.width),
            usage=like.new_zeros(rows, self.slots),
            read_weights=like.new_zeros(rows, self.heads, self.slots),
            write_weights=like.new_zeros(rows, self.heads, self.slots),
            keys=like.new_zeros(rows, self.heads, self.width),
            reads=like.new_zeros(rows, self.heads * self.width),
            controller=self.controller.start(rows),
        )

    def address(self, heads: Sequence[Any], state: MANNState, controller: tuple[Tensor, Tensor]) -> MANNState:
        """Return the state after reading and writing."""
        each = heads[0].unflatten(-1, (self.heads, 2 * self.width + 2))
        keys, values = each[..., :-2].chunk(2, -1)
        strengths, gates = F.softplus(each[..., -2]), torch.sigmoid(each[..., -1:])
        read_weights = content_weights(state.memory, torch.tanh(keys), strengths)
        reads = (read_weights @ state.memory).flatten(-2)
        least = least_used(state.usage, self.heads)
        write_weights = gates * state.read_weights + (1 - gates) * least
        memory = state.memory * (1 - least.sum(-2)).unsqueeze(-1) + write_weights.mT @ torch.tanh(state.keys + values)
        usage = self.decay * state.usage + (read_weights + write_weights).sum(-2)
        return MANNState(memory, usage, read_weights, write_weights, keys, reads, controller)
