"""Drawings as they come: any size, any number of channels, dark on light or light on dark."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register


@register("net")
class Drawings(nn.Module):
    """A net for light ink on a dark ground, and what makes other drawings such ones before it.

    Channels are averaged, 8-bit numbers become shares of one, drawings that are mostly light are inverted, and other
    sizes are reduced by averaging over areas, or enlarged bilinearly. Drawings that need none of this are left alone.

    Args:
        net: takes (S, 1, size, size).
        size: height and width that it takes.

    Raises:
        InputError: at call time, inputs that are no images.
    """

    def __init__(self, net: nn.Module, size: int = 28) -> None:
        super().__init__()
        self.net, self.size = net, size

    @property
    def features(self) -> int:
        """Size of the embedding, if the net knows its own."""
        return self.net.features  # type: ignore[return-value]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (S, C, H, W) to what the net makes of them."""
        if inputs.ndim != 4:
            raise InputError(f"drawings are images (rows, channels, height, width), not {tuple(inputs.shape)}")
        x = inputs / 255 if inputs.dtype == torch.uint8 else inputs
        if x.shape[1] != 1:
            x = x.mean(1, keepdim=True)
        light = x.mean((1, 2, 3), keepdim=True) > 0.5
        x = torch.where(light, 1 - x, x)
        height, width = x.shape[-2:]
        if min(height, width) >= self.size and max(height, width) > self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        elif (height, width) != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)
        return self.net(x)  # type: ignore[no-any-return]
