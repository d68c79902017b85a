"""Drawings of any size and any number of channels, dark on light or light on dark."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.operators.internals import in_transform
from quickstudy.registry import register

INK = 1 / 3
MARGIN = 1.1
"""Side of the square around a drawing, as a factor of the drawing's longer side."""
OUTSIDE = 0.5
"""How far from 0..1 numbers may lie."""
LEAST = 0.2
"""That side at least, as a share of the image's: a dot stays one."""
SMALL = 1.5
"""Times the framed size, to a side, of images of which one reading makes a pixel: bilinear, so nothing is left out."""
FINEST = 12
"""Readings, to a side, that are averaged for a pixel of larger ones, at most; still larger ones are averaged before."""


@register("net")
class Drawings(nn.Module):
    """A net for light ink on a dark ground, after a step that turns other drawings into such ones.

    Channels are averaged, 8-bit numbers become shares of one, drawings that are mostly light are inverted, and other
    sizes are reduced by averaging over areas, or enlarged bilinearly. Drawings that need none of this are left alone.

    Args:
        net: a net that takes (S, 1, size, size).
        size: height and width of the net's inputs.
        framed: first cut each drawing to its ink, in a square with some ground around it, so that neither place nor
            size matters. Pixels with less than a third of a drawing's strongest ink are ground.
        aspect: if framed, the power to which the ratio of a drawing's shorter side to its longer one is raised, by
            stretching the shorter: 1 keeps shapes, 0 makes all square. 0.5 shows long and narrow drawings larger and
            still tells them from square ones (Liu et al. 2004, "Handwritten digit recognition: investigation of
            normalization and feature extraction techniques", the square root of the aspect ratio).

    Raises:
        InputError: the aspect is outside 0..1; at call time, inputs are not images of one channel or three, or numbers
            are far from 0 to 1. Inside transforms (`torch.vmap`, `torch.compile`) numbers cannot be read, so they pass.
    """

    def __init__(self, net: nn.Module, size: int = 28, framed: bool = False, aspect: float = 1.0) -> None:
        super().__init__()
        if not 0 <= aspect <= 1:
            raise InputError(f"aspect must lie in 0..1, not {aspect}")
        self.net, self.size, self.framed, self.aspect = net, size, framed, aspect

    @property
    def features(self) -> int:
        """Size of the embedding, if the net knows its own."""
        return self.net.features  # type: ignore[return-value]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (S, C, H, W) to the net's outputs."""
        if inputs.ndim != 4:
            raise InputError(f"drawings are images (rows, channels, height, width), not {tuple(inputs.shape)}")
        if inputs.shape[1] not in (1, 3):
            raise InputError(
                f"drawings have one channel or three, before height and width, not the {inputs.shape[1]} of "
                f"{tuple(inputs.shape)}; move channels there, and leave out transparency"
            )
        x = inputs / 255 if inputs.dtype == torch.uint8 else inputs
        _check_shares(x)
        if x.shape[1] != 1:
            x = x.mean(1, keepdim=True)
        light = x.mean((1, 2, 3), keepdim=True) > 0.5
        x = torch.where(light, 1 - x, x)
        if self.framed:
            return self.net(_framed(x, self.size, self.aspect))  # type: ignore[no-any-return]
        height, width = x.shape[-2:]
        if min(height, width) >= self.size and max(height, width) > self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        elif (height, width) != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)
        return self.net(x)  # type: ignore[no-any-return]


def _check_shares(x: Tensor) -> None:
    """Raise InputError if numbers are far from 0..1; resizing may leave them a little outside."""
    if torch.compiler.is_compiling() or in_transform(x) or not x.numel():
        return
    low, high = (float(value) + 0.0 for value in x.detach().aminmax())
    if low < -OUTSIDE or high > 1 + OUTSIDE:
        raise InputError(
            f"drawings are numbers from 0 to 1, or 8-bit ones (uint8), but these reach from {low:g} to {high:g}; "
            "scale them, for example by X / X.max()"
        )


def _framed(x: Tensor, size: int, aspect: float = 1.0) -> Tensor:
    """Return the frame around what is drawn in (S, 1, H, W) as (S, 1, size, size): averages of bilinear readings."""
    coarse = math.ceil(MARGIN * max(x.shape[-2:]) / (FINEST * size))
    if coarse > 1 and min(x.shape[-2:]) >= coarse:
        x = F.avg_pool2d(x, coarse, ceil_mode=True)
    height, width = x.shape[-2:]
    edge = max(height, width)
    fine = 1 if edge <= SMALL * size else math.ceil(MARGIN * edge / size)  # a pixel or less apart
    ink = x[:, 0] > x.amax((1, 2, 3)).reshape(-1, 1, 1) * INK
    left, right = _ends(ink.any(1))
    top, bottom = _ends(ink.any(2))
    wide, high = right - left, bottom - top
    longer = torch.maximum(wide, high)
    # For a side of s pixels with ratio r to the longer one, the frame is s / r ** aspect long.
    sides = [(MARGIN * side * (longer / side) ** aspect).clamp_min(LEAST * edge) for side in (wide, high)]
    # Middles of the frame's pixels and of their parts, as places in the image from -1 to 1.
    count = fine * size
    middles = (torch.arange(count, device=x.device) + 0.5) / count - 0.5
    across = (left + right + 2 * sides[0] * middles.unsqueeze(1)) / width - 1
    down = (top + bottom + 2 * sides[1] * middles.unsqueeze(1)) / height - 1
    shape = (count, count, len(x))
    places = torch.stack([across.unsqueeze(0).expand(shape), down.unsqueeze(1).expand(shape)], 0)
    read = F.grid_sample(x, places.permute(3, 1, 2, 0).to(x.dtype), align_corners=False)
    return read if fine == 1 else F.avg_pool2d(read, fine)


def _ends(drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Return where what is drawn begins and ends in (S, L) booleans; a row without any is drawn all over."""
    first, last = drawn.int().argmax(1), drawn.flip(1).int().argmax(1)
    return first.float(), (drawn.shape[1] - last).float()
