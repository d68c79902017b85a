"""A distance between feature maps that lets one be bent to look like the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional.distances import distorted
from quickstudy.registry import register


@register("net")
class Distortion(nn.Module):
    """Squared distances between maps, each place compared with the most alike around it (`distances.distorted`).

    For `ProtoNet(distance=...)`: drawings of one character by two people have the same parts at slightly different
    places. The cost of being off by a place is learned.

    Args:
        height: of the maps.
        width: of the maps.
        reach: places that a part may be off.
        cost: what the cost of being off by one place begins with.

    Raises:
        InputError: a number out of range; at call time, rows that are no maps of that height and width.
    """

    def __init__(self, height: int, width: int, reach: float = 1, cost: float = 1.0) -> None:
        super().__init__()
        if min(height, width) < 1 or not 0 <= reach < math.inf or not 0 < cost < math.inf:
            raise InputError(
                f"height={height}, width={width}, cost={cost} must be positive, reach={reach} not negative, all finite"
            )
        self.height, self.width, self.reach = height, width, reach
        self.log_cost = nn.Parameter(torch.tensor(float(cost)).log())

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (Q, N) distances of rows a (Q, C H W) from rows b (N, C H W): maps, flattened."""
        maps = (self._maps(a), self._maps(b))
        return distorted(*maps, self.reach, self.log_cost.exp())

    def _maps(self, rows: Tensor) -> Tensor:
        if rows.ndim != 2 or rows.shape[1] % (self.height * self.width):
            raise InputError(
                f"rows {tuple(rows.shape)} are no flattened maps of {self.height}x{self.width}; build Distortion with "
                "the height and width of what the net returns"
            )
        return rows.reshape(len(rows), -1, self.height, self.width)
