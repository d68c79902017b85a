"""Changes of images that leave their class as it is, for tasks that augment (`FewShot(augment=...)`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import real, whole
from quickstudy.operators import trees


@dataclass(frozen=True)
class Warp:
    """Another affine map and another gentle bend of each image: drawings as other hands would have made them.

    Simard et al. 2003, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis", in which
    displacements are noise smoothed by a Gaussian; here they are few random vectors on a coarse grid, interpolated.

    Attributes:
        rotation: largest angle, degrees.
        shear: largest slant, degrees.
        scale: largest change of width and of height, as a factor less one.
        shift: largest move, as a share of the side.
        bend: standard deviation of displacements, as a share of the side.
        grid: displacement vectors along a side.

    Raises:
        InputError: a negative size, or a grid of fewer than 2.
    """

    rotation: float = 10.0
    shear: float = 10.0
    scale: float = 0.15
    shift: float = 0.08
    bend: float = 0.03
    grid: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            real(name, value, least=0)
        whole("grid", self.grid, 2)

    def times(self, strength: float) -> Warp:
        """Return a stronger or weaker one, all its sizes times `strength`."""
        return Warp(**{name: value if name == "grid" else strength * value for name, value in vars(self).items()})

    def __call__(self, inputs: Tensor, keys: Tensor) -> Tensor:
        """Return warped images.

        Args:
            inputs: (T, S, C, H, W).
            keys: (T,); the same keys warp in the same way.

        Raises:
            InputError: inputs are no images.
        """
        inputs = _alone(inputs, "warping")
        if inputs.ndim != 5:
            raise InputError(f"warping needs images (T, S, C, H, W), not {tuple(inputs.shape)}")
        rows = inputs.shape[1]
        drawn = random.uniform(keys, rows, 6).reshape(-1, 6) * 2 - 1
        theta = _matrices(drawn, self)
        images = inputs.flatten(0, 1)
        places = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.bend:
            noise = random.normal(random.fold_in(keys, 1), rows, 2, self.grid, self.grid).flatten(0, 1)
            # Places run from -1 to 1: a side is 2 long.
            moved = F.interpolate(2 * self.bend * noise, images.shape[-2:], mode="bicubic", align_corners=True)
            places = places + moved.permute(0, 2, 3, 1)
        warped = F.grid_sample(images, places.to(images.dtype), padding_mode="zeros", align_corners=False)
        return warped.reshape(inputs.shape)


def _alone(inputs: Any, what: str) -> Tensor:
    """Return inputs that are one tensor, or raise InputError."""
    if not isinstance(inputs, Tensor):
        paths = ", ".join(path for path, _ in trees.named_leaves(inputs))
        raise InputError(
            f"{what} needs images alone, and these inputs hold several tensors ({paths}); pass a function that changes "
            "the images among them"
        )
    return inputs


def _matrices(drawn: Tensor, warp: Warp) -> Tensor:
    """Return (rows, 2, 3) maps from places in the warped image to places in the image, of numbers (rows, 6) from -1 to
    1: rotation, shear, width, height, and both shifts."""
    angle = drawn[:, 0] * math.radians(warp.rotation)
    slant = torch.tan(drawn[:, 1] * math.radians(warp.shear))
    size = torch.exp(-drawn[:, 2:4] * math.log1p(warp.scale))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack([cos, -sin, sin, cos], 1).reshape(-1, 2, 2)
    sheared = torch.stack([torch.ones_like(slant), slant, torch.zeros_like(slant), torch.ones_like(slant)], 1)
    linear = (rows @ sheared.reshape(-1, 2, 2)) * size.unsqueeze(1)
    return torch.cat([linear, 2 * warp.shift * drawn[:, 4:].unsqueeze(2)], 2)


@dataclass(frozen=True)
class Noise:
    """Normal noise on every pixel, kept within 0 and 1.

    Attributes:
        std: its standard deviation.

    Raises:
        InputError: it is negative.
    """

    std: float

    def __post_init__(self) -> None:
        real("std", self.std, least=0)

    def __call__(self, inputs: Tensor, keys: Tensor) -> Tensor:
        """Return noisy inputs (T, S, ...), given keys (T,)."""
        inputs = _alone(inputs, "noise")
        return (inputs + self.std * random.normal(keys, *inputs.shape[1:], dtype=inputs.dtype)).clamp(0, 1)


@dataclass(frozen=True)
class Blur:
    """Images smoothed by a Gaussian.

    Attributes:
        sigma: its standard deviation, pixels.

    Raises:
        InputError: it is not positive.
    """

    sigma: float

    def __post_init__(self) -> None:
        # Images stay as they are without Blur.
        real("sigma", self.sigma, above=0)

    def __call__(self, inputs: Tensor, keys: Tensor) -> Tensor:
        """Return smoothed images (T, S, C, H, W); keys are not needed."""
        inputs = _alone(inputs, "blurring")
        reach = max(1, round(3 * self.sigma))
        places = torch.arange(-reach, reach + 1, dtype=inputs.dtype, device=inputs.device)
        weights = torch.softmax(-(places**2) / (2 * self.sigma**2), 0)
        images = inputs.reshape(-1, 1, *inputs.shape[-2:])
        smooth = F.conv2d(images, weights.reshape(1, 1, -1, 1), padding=(reach, 0))
        return F.conv2d(smooth, weights.reshape(1, 1, 1, -1), padding=(0, reach)).reshape(inputs.shape)
