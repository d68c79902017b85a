"""Products of inputs as features: the embedding of polynomial regression."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register

MOST_PRODUCTS = 10**6
"""Products of the largest set of them: as features they would be more than any solver takes."""


@register("net")
class Monomials(nn.Module):
    """All products of up to `degree` inputs, with the constant. The sine and cosine of an angle count as inputs.

    Args:
        scale: divisors of the D inputs; an angle is not divided.
        degree: largest degree of the products.
        angles: numbers of the inputs that are angles, in rad.

    Raises:
        InputError: a degree or scale is not positive, a degree gives too many products, or an angle is not the number
            of an input.
    """

    def __init__(self, scale: Sequence[float], degree: int = 2, angles: Sequence[int] = ()) -> None:
        super().__init__()
        if degree < 1 or not scale or not all(each > 0 for each in scale):
            raise InputError(f"{degree=} and every {scale=} must be positive")
        if not set(angles) <= set(range(len(scale))):
            raise InputError(f"{angles=} are not all among the inputs 0..{len(scale) - 1}")
        self.inputs, self.angles = len(scale), list(angles)
        self.plain = [i for i in range(len(scale)) if i not in angles]
        self.scale = [float(scale[i]) for i in self.plain]
        count = len(self.plain) + 2 * len(self.angles)
        if math.comb(count + degree, degree) > MOST_PRODUCTS:
            raise InputError(
                f"{degree=} of {count} inputs gives more than {MOST_PRODUCTS} products; take a smaller one"
            )
        # Each row names the factors of one product; the last number is a factor of 1.
        self.factors = list(itertools.combinations_with_replacement(range(count + 1), degree))
        self.features = len(self.factors)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (S, D) to (S, F)."""
        if x.shape[1:] != (self.inputs,):
            raise InputError(
                f"rows of shape {tuple(x.shape[1:])} are not the {self.inputs} inputs that scale is given for"
            )
        angles = x[:, self.angles]
        parts = [
            x[:, self.plain] / x.new_tensor(self.scale),
            torch.sin(angles),
            torch.cos(angles),
            torch.ones_like(x[:, :1]),
        ]
        factors = torch.cat(parts, 1)
        return factors[:, torch.tensor(self.factors, device=x.device)].prod(-1)
