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
    """Squared distances between maps. Each place is compared with the most similar around it (`distances.distorted`).

    It is made for `ProtoNet(distance=...)`: drawings of one character by two people have the same parts at slightly
    different places. The cost of a shift by one place is learned.

    Args:
        height: height of the maps.
        width: width of the maps.
        reach: number of places by which a part may be shifted.
        cost: initial cost of a shift by one place.

    Raises:
        InputError: a number is out of range; at call time, rows are not maps of that height and width.
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
                f"rows {tuple(rows.shape)} are not flattened maps of {self.height}x{self.width}; build Distortion with "
                "the height and width of the maps that the net returns"
            )
        return rows.reshape(len(rows), -1, self.height, self.width)
