"""Rows of a table as a net takes them: every column with mean zero and variance one over the rows of meta-training."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register


@register("net")
class Columns(nn.Module):
    """A net behind the standardised columns of a table. The means and scales are part of it, so that whoever uses it
    gives rows as they come.

    Args:
        net: reads standardised rows (S, D).
        width: number of columns D.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"width must be at least 1, not {width}")
        self.net, self.width = net, width
        self.features, self.context = getattr(net, "features", None), getattr(net, "context", 0)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, rows: Tensor, *rest: Any) -> Any:
        """Map rows (S, D) to what the net makes of them."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise InputError(f"the net reads rows of {self.width} columns, not {tuple(rows.shape)}")
        return self.net((rows - self.mean) * self.scale, *rest)

    @torch.no_grad()
    def fit(self, rows: Tensor) -> Self:
        """Take the means and scales of rows (M, D); columns that are constant there keep their scale. Return self."""
        rows = rows.to(torch.float64)
        spread = rows.std(0, correction=0)
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(torch.where(spread > 0, 1 / spread, 1.0))
        return self
