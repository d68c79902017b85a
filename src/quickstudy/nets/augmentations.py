"""Random changes of inputs with learned ranges, for `learners.LearnedAugmentation`.

A draw is a fixed random number times a learned range, so that it has a derivative by the range (reparameterisation;
Benton et al. 2020, "Learning Invariances in Neural Networks from Training Data").
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register


class Augmentation(nn.Module):
    """Base of augmentations, each a module from inputs (R, ...) and a key () to inputs of that shape.

    Args:
        ranges: where each learned range begins, by name. Its logarithm is learned, so that it stays positive.

    Raises:
        InputError: a range is not positive and finite. At zero it would have no gradient, and stay there.
    """

    def __init__(self, ranges: Mapping[str, float]) -> None:
        super().__init__()
        for name, value in ranges.items():
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, for its logarithm is learned, not {value}")
        self.names = tuple(ranges)
        self.log_ranges = nn.Parameter(torch.tensor([float(value) for value in ranges.values()]).log())

    def ranges(self) -> dict[str, float]:
        """Return the ranges as they are now, by name."""
        return dict(zip(self.names, self.log_ranges.detach().exp().tolist(), strict=True))


@register("net")
class Jitter(Augmentation):
    """Adds normal noise to every number of inputs of any shape.

    Args:
        noise: initial standard deviation.
    """

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__({"noise": noise})

    def forward(self, inputs: Tensor, key: Tensor) -> Tensor:
        """Return noisy inputs (R, ...)."""
        return inputs + self.log_ranges.exp() * random.normal(key, *inputs.shape, dtype=inputs.dtype)


@register("net")
class Affine(Augmentation):
    """Rotates, shifts and scales images about their middle; what comes in from outside is zero.

    Each image's angle, shifts and logarithm of scale are uniform in plus or minus a range.

    Args:
        rotation: initial largest angle, in degrees.
        shift: initial largest shift each way, as a share of the side.
        scale: initial largest logarithm of the factor of size.
    """

    def __init__(self, rotation: float = 5.0, shift: float = 0.02, scale: float = 0.05) -> None:
        super().__init__({"rotation": rotation, "shift": shift, "scale": scale})

    def forward(self, inputs: Tensor, key: Tensor) -> Tensor:
        """Return changed images (R, H, W) or (R, C, H, W)."""
        if inputs.ndim not in (3, 4):
            raise InputError(f"images must have shape (R, H, W) or (R, C, H, W), not {tuple(inputs.shape)}")
        drawn = 2 * random.uniform(key, len(inputs), 4, dtype=inputs.dtype) - 1
        rotation, shift, scale = self.log_ranges.exp()
        return affine(inputs, drawn[:, 0] * rotation, 2 * drawn[:, 1:3] * shift, (drawn[:, 3] * scale).exp())


def affine(images: Tensor, degrees: Tensor, shifts: Tensor, factors: Tensor) -> Tensor:
    """Return images (R, H, W) or (R, C, H, W), turned, shifted and scaled.

    Args:
        images: the images, which are interpolated bilinearly and are zero outside.
        degrees: (R,) angles, counter-clockwise as images are shown, with the first row on top.
        shifts: (R, 2) shifts to the right and down, in half sides.
        factors: (R,) factors of size.
    """
    planes = images if images.ndim == 4 else images.unsqueeze(1)
    angles = degrees * (math.pi / 180)
    cos, sin = torch.cos(angles) / factors, torch.sin(angles) / factors
    # From places of the new image to those of the old one: the inverse of what is done to it.
    x, y = (_middles(side, planes) for side in planes.shape[:1:-1])
    x, y = x - shifts[:, 0, None, None], y.unsqueeze(1) - shifts[:, 1, None, None]
    cos, sin = cos[:, None, None], sin[:, None, None]
    grid = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
    return F.grid_sample(planes, grid, align_corners=False).reshape(images.shape)


def _middles(side: int, like: Tensor) -> Tensor:
    """Return where the middles of pixels lie (side,), in half sides from the image's middle."""
    return (2 * torch.arange(side, dtype=like.dtype, device=like.device) + 1) / side - 1


@register("net")
class Augmentations(nn.Module):
    """Augmentations one after another.

    Args:
        parts: modules from inputs (R, ...) and a key () to inputs.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, inputs: Tensor, key: Tensor) -> Tensor:
        """Return changed inputs (R, ...)."""
        for number, part in enumerate(self.parts):
            inputs = part(inputs, random.fold_in(key, number))
        return inputs

    def ranges(self) -> dict[str, float]:
        """Return the ranges of all parts, by name."""
        return {name: value for part in self.parts for name, value in part.ranges().items()}  # type: ignore[operator]
