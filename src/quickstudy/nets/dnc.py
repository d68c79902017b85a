"""The differentiable neural computer's memory: Graves et al. 2016, "Hybrid computing using a neural network with
dynamic external memory", methods.

A controller LSTM reads the input and the last reading. One write head chooses between free slots (allocation a, by
usage u) and slots similar to its key (content c^w). R read heads choose between slots similar to their keys, and slots
written right after or right before those that they read last (temporal links L):

    w^w = g^w (g^a a + (1 - g^a) c^w),   M <- M (1 - w^w e^T) + w^w v^T
    w^r = pi_1 L^T w^r_{t-1} + pi_2 c^r + pi_3 L w^r_{t-1},   r = M^T w^r

The equations of u, a and L are in `functional.addressing`. Departures: the heads see the input beside the controller's
output, so that a key for x_t need not pass through the LSTM. Before training, reading is inclined to follow the order
of writing or, if `sharp`, has sharp keys. With `late_labels`, the written numbers are added to the mean key of the last
step's reading, since the label that comes now belongs to the row before. Keys are then sharp, reading starts by
content, and gates of writing start open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.functional.addressing import allocation, content_weights, linked, used
from quickstudy.nets.controlled import Controlled
from quickstudy.nets.recurrent import STRENGTH, LSTMCell
from quickstudy.registry import register

AHEAD, BY_CONTENT, OPEN = 2.0, 2.0, 3.0
"""Logits, before training, of reading what was written next, or by content, and of the gates of writing."""


class DNCState(NamedTuple):
    """State of B rows."""

    memory: Tensor
    """(B, M, W) contents of the slots."""
    usage: Tensor
    """(B, M) how much each slot is in use, 0 to 1."""
    links: Tensor
    """(B, M, M) how much each slot was written right after each other slot."""
    precedence: Tensor
    """(B, M) how much each slot was written last."""
    write_weights: Tensor
    """(B, M) weights of the last writing over the slots."""
    read_weights: Tensor
    """(B, R, M) weights of the last reading of each head over the slots."""
    key: Tensor
    """(B, W) mean of the keys of the last reading."""
    reads: Tensor
    """(B, R * W) numbers that were read last."""
    controller: tuple[Tensor, Tensor]


@register("net")
class DNCCell(Controlled):
    """A controller LSTM with an external memory that knows which slots are free and in which order they were written.

    Args:
        inputs: size D of an input.
        hidden: width of the controller.
        slots: memory slots M.
        width: numbers W of a slot.
        read_heads: heads R that read.
        late_labels: for rows whose label comes one step late; it then learns much sooner to put the two together.
        sharp: start with sharp keys of reading, for tasks in which something is looked up.
    """

    heads_are = ("reading", "writing")

    def __init__(
        self,
        inputs: int,
        hidden: int = 100,
        slots: int = 32,
        width: int = 20,
        read_heads: int = 2,
        late_labels: bool = False,
        sharp: bool = False,
    ) -> None:
        super().__init__()
        self.late_labels = late_labels
        self.slots, self.width, self.read_heads = slots, width, read_heads
        self.controller = LSTMCell(inputs + read_heads * width, hidden)
        # Read heads: key, strength, free gate, three modes. The write head: key, erase, value, strength, gates.
        self.reading = nn.Linear(hidden + inputs, read_heads * (width + 5))
        self.writing = nn.Linear(hidden + inputs, 3 * width + 3)
        self.outputs = hidden + read_heads * width
        with torch.no_grad():
            biases = self.reading.bias.view(read_heads, width + 5)
            if sharp or late_labels:
                biases[:, width] = STRENGTH
            else:
                # Keys that are sharp at once learn to count instead, up to the longest sequence in training.
                biases[:, -1] = AHEAD
            if late_labels:
                biases[:, -2], self.writing.bias[-2:] = BY_CONTENT, OPEN

    def start(self, rows: int) -> DNCState:
        """Return an empty memory."""
        like = self.writing.bias
        return DNCState(
            memory=like.new_zeros(rows, self.slots, self.width),
            usage=like.new_zeros(rows, self.slots),
            links=like.new_zeros(rows, self.slots, self.slots),
            precedence=like.new_zeros(rows, self.slots),
            write_weights=like.new_zeros(rows, self.slots),
            read_weights=like.new_zeros(rows, self.read_heads, self.slots),
            key=like.new_zeros(rows, self.width),
            reads=like.new_zeros(rows, self.read_heads * self.width),
            controller=self.controller.start(rows),
        )

    def address(self, heads: Sequence[Any], state: DNCState, controller: tuple[Tensor, Tensor]) -> DNCState:
        """Return the state after writing and reading."""
        each = heads[0].unflatten(-1, (self.read_heads, -1))
        keys, strengths, free, modes = each.split([self.width, 1, 1, 3], -1)
        key, erase, value, rest = heads[1].split([self.width, self.width, self.width, 3], -1)
        strength, allocation_gate, write_gate = rest.split(1, -1)

        usage = used(state.usage, state.write_weights, state.read_weights, torch.sigmoid(free).squeeze(-1))
        alike = content_weights(state.memory, key.unsqueeze(-2), _oneplus(strength)).squeeze(-2)
        gate = torch.sigmoid(allocation_gate)
        write = torch.sigmoid(write_gate) * (gate * allocation(usage) + (1 - gate) * alike)
        column, written = write.unsqueeze(-1), (value + state.key if self.late_labels else value).unsqueeze(-2)
        memory = state.memory * (1 - column * torch.sigmoid(erase).unsqueeze(-2)) + column * written

        links, precedence = linked(state.links, state.precedence, write)
        content = content_weights(memory, keys, _oneplus(strengths).squeeze(-1))
        # L[i, j]: i was written right after j. So L w goes on from where w points, and L^T w goes back.
        ahead, back = state.read_weights @ links.mT, state.read_weights @ links
        modes = torch.softmax(modes, -1)
        read = modes[..., :1] * back + modes[..., 1:2] * content + modes[..., 2:] * ahead
        reads = (read @ memory).flatten(-2)
        return DNCState(memory, usage, links, precedence, write, read, keys.mean(-2), reads, controller)


def _oneplus(x: Tensor) -> Tensor:
    return 1 + F.softplus(x)
