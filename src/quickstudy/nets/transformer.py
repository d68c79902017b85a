"""A transformer block whose rows attend to a context: a row to itself and others, or a query to a cached support."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional.attention import attend, join_heads, split_heads
from quickstudy.registry import register


class Context(NamedTuple):
    """The S rows that others attend to."""

    keys: Tensor
    """(heads, S, width / heads) keys of the rows."""
    values: Tensor
    """(heads, S, width / heads) values of the rows."""


@register("net")
class TransformerBlock(nn.Module):
    """Attention and a perceptron, each after layer norm and beside a skip connection (Xiong et al. 2020, figure 1b).

    Attention is written out, so that derivatives of every order pass, under vmap too.

    Args:
        width: size D of a row.
        heads: number of attention heads; it must divide the width.
        expansion: width of the perceptron's hidden layer, as a multiple of the width.

    Raises:
        InputError: the number of heads does not divide the width.
    """

    def __init__(self, width: int, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        if heads < 1 or width < 1 or width % heads:
            raise InputError(f"heads={heads} must divide width={width}")
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_queries, self.join = nn.Linear(width, width), nn.Linear(width, width)
        self.to_context = nn.Linear(width, 2 * width)
        with torch.no_grad():
            # Queries and keys begin as the same map, so that attention begins as a comparison: it is found soon.
            self.to_queries.weight.copy_(self.to_context.weight[:width])
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def context(self, rows: Tensor) -> Context:
        """Return the context that others may attend to, of rows (S, D)."""
        keys, values = self.to_context(self.before_attention(rows)).chunk(2, -1)
        return Context(split_heads(keys, self.heads), split_heads(values, self.heads))

    def forward(self, rows: Tensor, context: Context, visible: Tensor) -> Tensor:
        """Return rows (R, D) after attending to a context of S rows, where visible (R, S) or (S,) allows it."""
        queries = split_heads(self.to_queries(self.before_attention(rows)), self.heads)
        rows = rows + self.join(join_heads(attend(queries, context.keys, context.values, visible)))
        return rows + self.down(F.gelu(self.up(self.before_perceptron(rows))))  # type: ignore[no-any-return]
