"""ResNet-12, the deeper backbone of few-shot learning (Lee et al. 2019, "MetaOptNet", appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.nets.conv4 import Norm, norm_layer
from quickstudy.registry import register


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        widths = [inputs, outputs, outputs, outputs]
        self.convs = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, 1, 1, bias=False) for i in range(3))
        self.norms = nn.ModuleList(norm_layer(norm, outputs) for _ in range(3))
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), norm_layer(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            if i < 2:
                y = F.leaky_relu(y, 0.1)
        # Pooling first gives the same numbers for less work.
        return F.leaky_relu(F.max_pool2d(y + self.shortcut(x), 2), 0.1)


class ResNet12(nn.Module):
    """Four residual blocks of three convolutions, then a global mean."""

    def __init__(self, channels: int, widths: Sequence[int], outputs: int | None, norm: Norm) -> None:
        super().__init__()
        sizes = [channels, *widths]
        self.blocks = nn.Sequential(*(_Block(a, b, norm) for a, b in pairwise(sizes)))
        self.features = sizes[-1]
        self.head = nn.Linear(self.features, outputs) if outputs is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (S, channels, height, width) to (S, outputs) or (S, features)."""
        return self.head(self.blocks(x).mean((-2, -1)))  # type: ignore[no-any-return]


@register("net")
def resnet12(
    channels: int = 3,
    widths: Sequence[int] = (64, 160, 320, 640),
    outputs: int | None = None,
    *,
    norm: Norm = "batch",
) -> ResNet12:
    """Residual net of twelve layers for images of 84x84 pixels or so.

    Args:
        channels: input channels.
        widths: channels of each of the four blocks.
        outputs: number of outputs of a linear head; None for an embedding of widths[-1] numbers.
        norm: as for `conv4`.
    """
    return ResNet12(channels, tuple(widths), outputs, norm)
