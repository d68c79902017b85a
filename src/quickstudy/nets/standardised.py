"""Features that start centred: data-dependent initialisation.

Krähenbühl et al. 2016, "Data-dependent Initializations of Convolutional Neural Networks", without its rescaling of
inner layers. Features that end in a ReLU point in nearly the same direction for all inputs, so that a memory addressed
by cosines cannot tell them apart. Until an embedding has been learned, nothing is learned about what to store.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.operators.answers import answer
from quickstudy.registry import register


@register("net")
class Standardised(nn.Module):
    """A net followed by a learned shift of each feature and one learned scale, both of which `fit` initialises.

    Args:
        net: embedding module.
        features: size D of the embedding; None reads it from `net.features`.
    """

    def __init__(self, net: nn.Module, features: int | None = None) -> None:
        super().__init__()
        size = features if features is not None else getattr(net, "features", None)
        if not isinstance(size, int):
            raise InputError("the size of the embedding is unknown; pass features=...")
        self.net, self.features = net, size
        self.shift = nn.Parameter(torch.zeros(size))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Any) -> Tensor:
        """Map inputs (S, ...) to (S, D)."""
        return (self.net(inputs) - self.shift) * self.scale  # type: ignore[no-any-return]

    @torch.no_grad()
    def fit(self, inputs: Any) -> Self:
        """Centre the features of sample inputs (S, ...) at zero, with variance one on average; return self."""
        features, _ = answer(self.net, inputs)
        self.shift.copy_(features.mean(0))
        self.scale.copy_(1 / (features - self.shift).std().clamp_min(1e-6))
        return self
