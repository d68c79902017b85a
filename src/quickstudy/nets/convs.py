"""Convolutional nets with any number of blocks, for embeddings that need more than four."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.nets.conv4 import Norm, norm_layer
from quickstudy.operators.calls import conv_norm_pool
from quickstudy.registry import register


@register("net")
class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, norm, 2x2 max-pooling where a block halves, and ReLU; then all maps as one row.

    Args:
        channels: input channels.
        widths: filters of each block.
        halved: numbers of the blocks that halve their maps, from 0.
        norm: 'batch' (statistics by the learner's batch norm policy), 'group' or 'layer' (of each row alone), 'none'.
        size: height and width of the images, in pixels.

    Raises:
        InputError: images do not match at call time, a number is not positive, or the size is too small.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 64, 64, 64, 64),
        halved: Sequence[int] = (0, 2, 4),
        *,
        norm: Norm = "batch",
        size: int = 28,
    ) -> None:
        super().__init__()
        if not widths or min(channels, *widths) < 1 or not set(halved) <= set(range(len(widths))):
            raise InputError(
                f"channels={channels} must be positive, widths={tuple(widths)} one or more positive numbers, and "
                f"halved={tuple(halved)} numbers of blocks, from 0 to below {len(widths)}"
            )
        edge = size >> len(set(halved))
        if edge < 1:
            raise InputError(f"size={size} is too small for {len(set(halved))} halvings; use larger images")
        self.channels, self.size, self.halved = channels, size, frozenset(halved)
        ends = [channels, *widths]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(ends, widths, strict=False))
        self.norms = nn.ModuleList(norm_layer(norm, width) for width in widths)
        self.features = widths[-1] * edge * edge

    def forward(self, x: Tensor) -> Tensor:
        """Map images (S, channels, size, size) to (S, features)."""
        if x.ndim != 4 or x.shape[1:] != (self.channels, self.size, self.size):
            raise InputError(
                f"this net was built for images (rows, {self.channels}, {self.size}, {self.size}) but got "
                f"{tuple(x.shape)}; resize them, or build ConvNet(channels=..., size=...) to match"
            )
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            assert isinstance(conv, nn.Conv2d)
            if i not in self.halved:
                x = norm(conv(x))
            else:
                x = conv_norm_pool(x, conv, norm)
            x = F.relu(x)
        return torch.flatten(x, 1)
