"""The Neural Turing machine's memory: Graves, Wayne & Danihelka 2014, "Neural Turing Machines", section 3.

A controller LSTM reads the input and the last reading. Each head gives a key, a strength, a gate, shifts and a
sharpness. Its weights over the M slots are (equations 5-9)

    w^c = softmax(strength * cosine(key, M)),   w^g = g w^c + (1 - g) w_{t-1}
    w'(i) = sum_j w^g(i - j) s(j),              w = w'^gamma / sum w'^gamma

A write head erases and adds (equations 3 and 4), M(i) <- M(i) (1 - w(i) e) + w(i) a; then the read heads read r = sum_i
w(i) M(i). Before the first step each head points at slot 0. Departure: the heads see the input beside the controller's
output, so that an input can be stored without passing through the LSTM. Before training, heads are inclined to move one
slot ahead, as is right for writing down a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.functional.addressing import content_weights, interpolated, sharpened, shifted
from quickstudy.nets.controlled import Controlled
from quickstudy.nets.recurrent import LSTMCell
from quickstudy.registry import register

AHEAD = 2.0
"""Logit, before training, of moving by one slot; about 0 for other moves."""


class NTMState(NamedTuple):
    """State of B rows, with H heads in all. Reading heads come before writing heads."""

    memory: Tensor
    """(B, M, W) contents of the slots."""
    weights: Tensor
    """(B, H, M) last weights of each head over the slots."""
    reads: Tensor
    """(B, R * W) numbers that were read last."""
    controller: tuple[Tensor, Tensor]


@register("net")
class NTMCell(Controlled):
    """A controller LSTM with an external memory, addressed by content and by moving along it.

    Args:
        inputs: size D of an input.
        hidden: width of the controller.
        slots: memory slots M.
        width: numbers W of a slot.
        read_heads: heads R that read.
        write_heads: number of heads that write.
        reach: largest number of slots by which a head moves per step.
    """

    heads_are = ("addresses", "writes")

    def __init__(
        self,
        inputs: int,
        hidden: int = 100,
        slots: int = 128,
        width: int = 20,
        read_heads: int = 1,
        write_heads: int = 1,
        reach: int = 1,
    ) -> None:
        super().__init__()
        self.slots, self.width, self.reach = slots, width, reach
        self.read_heads, self.write_heads = read_heads, write_heads
        self.controller = LSTMCell(inputs + read_heads * width, hidden)
        # For each head: key, strength, gate, sharpness, shifts.
        self.addresses = nn.Linear(hidden + inputs, (read_heads + write_heads) * (width + 3 + 2 * reach + 1))
        self.writes = nn.Linear(hidden + inputs, write_heads * 2 * width)
        self.outputs = hidden + read_heads * width
        with torch.no_grad():
            self.addresses.bias.view(read_heads + write_heads, -1)[:, -reach] = AHEAD

    def start(self, rows: int) -> NTMState:
        """Return an empty memory, with all heads at slot 0."""
        like = self.addresses.bias
        weights = like.new_zeros(rows, self.read_heads + self.write_heads, self.slots - 1)
        return NTMState(
            # Nearly empty, as content addressing needs a direction.
            memory=like.new_full((rows, self.slots, self.width), 1e-6),
            weights=F.pad(weights, (1, 0), value=1.0),
            reads=like.new_zeros(rows, self.read_heads * self.width),
            controller=self.controller.start(rows),
        )

    def address(self, heads: Sequence[Any], state: NTMState, controller: tuple[Tensor, Tensor]) -> NTMState:
        """Return the state after writing and reading."""
        each = heads[0].unflatten(-1, (self.read_heads + self.write_heads, -1))
        key, rest = each[..., : self.width], each[..., self.width :]
        content = content_weights(state.memory, torch.tanh(key), F.softplus(rest[..., 0]))
        weights = interpolated(content, state.weights, torch.sigmoid(rest[..., 1]))
        weights = sharpened(shifted(weights, torch.softmax(rest[..., 3:], -1)), 1 + F.softplus(rest[..., 2]))
        read, write = weights[..., : self.read_heads, :], weights[..., self.read_heads :, :]
        erase, add = heads[1].unflatten(-1, (self.write_heads, 2 * self.width)).chunk(2, -1)
        kept = (1 - write.unsqueeze(-1) * torch.sigmoid(erase).unsqueeze(-2)).prod(-3)
        memory = state.memory * kept + write.mT @ torch.tanh(add)
        reads = (read @ memory).flatten(-2)
        return NTMState(memory, weights, reads, controller)
