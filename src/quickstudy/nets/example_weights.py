"""Maps from an example's loss to its weight, for `learners.MetaWeightNet`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register


@register("net")
class LossWeights(nn.Module):
    """A perceptron of one hidden layer from an example's loss to its weight in 0..1 (Shu et al. 2019, section 3.1).

    It knows only the loss of an example, so it weighs examples of any data and net.

    Args:
        hidden: width of the hidden layer; 100 in the paper.
    """

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        if hidden < 1:
            raise InputError(f"hidden must be at least 1, not {hidden}")
        self.layers = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())

    def forward(self, losses: Tensor, rows: Tensor) -> Tensor:
        """Return the weights (R,) of examples with these losses (R,); the rows themselves make no difference."""
        weights: Tensor = self.layers(losses.unsqueeze(-1))
        return weights.squeeze(-1)


@register("net")
class RowWeights(nn.Module):
    """A weight in 0..1 for each row of one support, or for each group of rows, whatever its loss.

    Args:
        rows: number of rows S of the support. All begin with the weight 1/2.
        groups: the group of each row, 0, 1, ...: rows of one group, such as a class, share a weight. None gives each
            row its own.

    Raises:
        InputError: there is no row, or not one group for each row.
    """

    groups: Tensor

    def __init__(self, rows: int, groups: Sequence[int] | None = None) -> None:
        super().__init__()
        if rows < 1:
            raise InputError(f"rows must be at least 1, not {rows}")
        if groups is not None and (len(groups) != rows or min(groups) < 0):
            raise InputError(f"groups must be {rows} numbers of 0 or more, one for each row, not {len(groups)}")
        self.rows = rows
        self.register_buffer("groups", torch.arange(rows) if groups is None else torch.tensor(groups))
        self.logits = nn.Parameter(torch.zeros(int(self.groups.max()) + 1))

    def forward(self, losses: Tensor, rows: Tensor) -> Tensor:
        """Return the weights (R,) of the support's rows with these numbers (R,)."""
        return self.logits[self.groups[rows]].sigmoid()
