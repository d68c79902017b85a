"""Mixed cells of convolutions and pooling, for images of a few pixels.

Maps have their places in one dimension and channels last, and 3x3 neighbours are found by a product with a constant
matrix. With so few places this takes a fraction of a convolution's time, for many nets at once too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.nets.mixed_cells import CellNet, Zero
from quickstudy.registry import register


class Patches(nn.Module):
    """Cuts images into squares of 2x2 pixels and maps each linearly."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, channels, h, w) to (S, L, hidden), L = hw/4 places."""
        rows, channels, height, width = x.shape
        cut = x.reshape(rows, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
        return self.linear(cut.reshape(rows, height * width // 4, 4 * channels))  # type: ignore[no-any-return]


class Average(nn.Module):
    """Average pooling: means over those 3x3 neighbours that exist."""

    means: Tensor

    def __init__(self, edge: int) -> None:
        super().__init__()
        near = neighbourhoods(edge).sum(1)
        self.register_buffer("means", near / near.sum(1, keepdim=True), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, L, C) to (S, L, C)."""
        return self.means @ x


class Convolution(nn.Module):
    """A linear map of 3x3 neighbours, zero beyond the border, without bias."""

    neighbours: Tensor

    def __init__(self, edge: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("neighbours", neighbourhoods(edge).flatten(0, 1), persistent=False)
        self.linear = nn.Linear(9 * hidden, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, L, C) to (S, L, C)."""
        near = self.neighbours @ x
        return self.linear(near.reshape(*x.shape[:2], -1))  # type: ignore[no-any-return]


class Head(nn.Module):
    """A linear map of the mean over places."""

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (S, L, C) to (S, outputs)."""
        return self.linear(torch.relu(x).mean(1))  # type: ignore[no-any-return]


def neighbourhoods(edge: int) -> Tensor:
    """Return (L, 9, L) for maps of edge x edge places: 1 where a place is this neighbour of another."""
    places = torch.arange(edge * edge)
    row, column = places // edge, places % edge
    steps = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2))
    down, right = row[:, None] + steps[:, 0], column[:, None] + steps[:, 1]
    return ((down[..., None] == row) & (right[..., None] == column)).to(torch.get_default_dtype())


@register("net")
def conv_cells(
    channels: int = 1, hidden: int = 8, outputs: int = 10, *, size: int = 8, nodes: int = 3, cells: int = 2
) -> CellNet:
    """Return a convolutional net of mixed cells, for images of a few pixels.

    The operations are NAS-Bench-201's (Dong & Yang 2020, section 2.1): none, skip, 3x3 average pooling, 1x1 and 3x3
    convolution; with 3 nodes a cell has 3 edges and 5^3 = 125 architectures. Pooling and convolution (of a ReLU) end in
    a norm without learned scales, here of each row alone.

    Args:
        channels: input channels.
        hidden: channels of a cell.
        outputs: number of outputs.
        size: height and width of images, even; cells see half of it.
        nodes: number of nodes of a cell.
        cells: number of cells.

    Raises:
        InputError: a number is out of range.
    """
    if min(channels, hidden, outputs) < 1 or size < 2 or size % 2:
        raise InputError(
            f"channels={channels}, hidden={hidden} and outputs={outputs} must be positive, and size={size} even"
        )
    edge = size // 2

    def normed(*layers: nn.Module) -> nn.Sequential:
        return nn.Sequential(*layers, nn.LayerNorm([edge * edge, hidden], elementwise_affine=False))

    operations: dict[str, Callable[[], nn.Module]] = {
        "none": Zero,
        "skip": nn.Identity,
        "average": lambda: normed(Average(edge)),
        "conv 1x1": lambda: normed(nn.ReLU(), nn.Linear(hidden, hidden, bias=False)),
        "conv 3x3": lambda: normed(nn.ReLU(), Convolution(edge, hidden)),
    }
    return CellNet(normed(Patches(channels, hidden)), operations, Head(hidden, outputs), nodes, cells)
