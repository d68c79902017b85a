"""A small fully convolutional net for dense prediction, with growing dilation (Yu & Koltun 2016, table 1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.nets.conv4 import Norm, norm_layer
from quickstudy.registry import register


class FCN(nn.Module):
    """Dilated 3x3 convolutions at full resolution, then a linear map at each pixel."""

    def __init__(self, channels: int, hidden: int, outputs: int, depth: int, norm: Norm) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i == 0 else hidden, hidden, 3, padding=2**i, dilation=2**i) for i in range(depth)
        )
        self.norms = nn.ModuleList(norm_layer(norm, hidden) for _ in range(depth))
        self.head = nn.Conv2d(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (S, channels, h, w) to (S, outputs, h, w)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return self.head(x)  # type: ignore[no-any-return]


@register("net")
def fcn(channels: int = 3, hidden: int = 32, outputs: int = 2, *, depth: int = 4, norm: Norm = "group") -> FCN:
    """Fully convolutional net for segmentation tasks.

    Args:
        channels: input channels.
        hidden: filters of each layer.
        outputs: classes of a pixel.
        depth: layers; the receptive field is 2^(depth+1) - 1 pixels wide.
        norm: as for `conv4`.
    """
    return FCN(channels, hidden, outputs, depth, norm)
