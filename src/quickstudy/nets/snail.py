"""The blocks of SNAIL: causal convolutions over time and causal attention, for rows that follow a known past.

Mishra et al. 2018, "A Simple Neural Attentive Meta-Learner", section 3 and figure 2. Each block maps rows (R, C), of
which row j stands at position (R,) j of a sequence, given the block's inputs (S, C) at all positions before. So one
block serves both the sequence itself (rows = past, position = 0, 1, ...) and queries that each come after a part of it
and do not see each other. Before the beginning there are zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.functional.classes import hidden
from quickstudy.registry import register


@register("net")
class DenseBlock(nn.Module):
    """Adds `filters` channels tanh(a) sigmoid(b), where a and b are causal convolutions of kernel 2.

    Args:
        channels: size C of an incoming row.
        filters: number of channels that are added.
        dilation: number of positions that the convolution looks back.
    """

    def __init__(self, channels: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.now, self.back = nn.Linear(channels, 2 * filters), nn.Linear(channels, 2 * filters, bias=False)

    def forward(self, rows: Tensor, past: Tensor, position: Tensor, real: Tensor) -> Tensor:
        """Return (R, C + filters)."""
        index = position - self.dilation
        # The weights are applied to the past once, and looked up for each row.
        seen = torch.where((index >= 0).unsqueeze(1), self.back(past)[index.clamp_min(0)], 0.0)
        a, b = (self.now(rows) + seen).chunk(2, -1)
        return torch.cat([rows, torch.tanh(a) * torch.sigmoid(b)], -1)


@register("net")
class AttentionBlock(nn.Module):
    """Adds the readings of causal attention: every row attends to itself and to the real rows before it.

    Args:
        channels: size C of an incoming row.
        keys: size of keys and queries.
        values: number of channels that are added.
    """

    def __init__(self, channels: int, keys: int, values: int) -> None:
        super().__init__()
        self.to_queries, self.to_keys = nn.Linear(channels, keys), nn.Linear(channels, keys)
        self.to_values = nn.Linear(channels, values)
        # Queries and keys begin as the same map, so that attention begins as a comparison: it is found soon.
        self.to_queries.load_state_dict(self.to_keys.state_dict())

    def forward(self, rows: Tensor, past: Tensor, position: Tensor, real: Tensor) -> Tensor:
        """Return (R, C + values)."""
        queries = self.to_queries(rows) / self.to_queries.out_features**0.5
        before = (torch.arange(len(past), device=rows.device) < position.unsqueeze(1)) & real
        others = hidden(queries @ self.to_keys(past).mT, before)
        own = (queries * self.to_keys(rows)).sum(-1, keepdim=True)
        weights = torch.softmax(torch.cat([others, own], 1), 1)
        read = weights[:, :-1] @ self.to_values(past) + weights[:, -1:] * self.to_values(rows)
        return torch.cat([rows, read], -1)


def snail_blocks(channels: int, filters: int, length: int) -> tuple[nn.ModuleList, int]:
    """Return the paper's blocks for few-shot learning, and the size of a row after them.

    Attention, temporal convolutions, attention, temporal convolutions, attention; a stack of temporal convolutions has
    dilations 1, 2, 4, ... up to the length of the sequence.

    Args:
        channels: size of an incoming row.
        filters: filters of the convolutions (128 in the paper); attention sizes are in the paper's proportion to them.
        length: number of positions that the convolutions cover together.
    """
    dilations = [2**i for i in range(max(1, (length - 1).bit_length()))]
    blocks: list[nn.Module] = []
    for keys, values, convolve in (
        (filters // 2, filters // 4, True),
        (2 * filters, filters, True),
        (4 * filters, 2 * filters, False),
    ):
        blocks.append(AttentionBlock(channels, max(1, keys), max(1, values)))
        channels += max(1, values)
        for dilation in dilations if convolve else ():
            blocks.append(DenseBlock(channels, filters, dilation))
            channels += filters
    return nn.ModuleList(blocks), channels
