"""A multilayer perceptron whose hidden layers are modulated from outside (Vuorio et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.checks import flat_rows
from quickstudy.registry import register

Modulation = Literal["film", "sigmoid"]


class ModulatedMLP(nn.Module):
    """Linear layers, each scaled (and shifted) by its part of the context, with ReLU between."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, modulation: Modulation) -> None:
        super().__init__()
        self.modulation = modulation
        self.context = (2 if modulation == "film" else 1) * sum(hidden)
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, hidden, strict=False))
        self.head = nn.Linear(sizes[-1], outputs)
        self.features = sizes[-1]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map x (S, ...) and context (C,) to (S, outputs)."""
        x = flat_rows(x)
        context = x.new_zeros(self.context) if context is None else context
        for layer in self.layers:
            x = layer(x)
            width = x.shape[1]
            if self.modulation == "film":
                scale, shift, context = context[:width], context[width : 2 * width], context[2 * width :]
                x = x * (1 + scale) + shift
            else:
                gate, context = context[:width], context[width:]
                x = x * torch.sigmoid(gate)
            x = F.relu(x)
        return self.head(x)  # type: ignore[no-any-return]


@register("net")
def modulated_mlp(
    inputs: int, hidden: Sequence[int] = (100, 100, 100), outputs: int = 1, modulation: Modulation = "film"
) -> ModulatedMLP:
    """Multilayer perceptron for MMAML, whose `context` modulates every hidden layer.

    Args:
        inputs: number of input features D.
        hidden: width of each hidden layer.
        outputs: number of outputs.
        modulation: 'film' (scale 1 + gamma and shift, Perez et al. 2018) or 'sigmoid' (gates).

    Raises:
        InputError: a size that is not positive, or an unknown modulation.
    """
    hidden = tuple(hidden)
    if modulation not in get_args(Modulation):
        raise unknown_name("modulation", modulation, get_args(Modulation))
    if min(inputs, outputs, *hidden) < 1:
        raise InputError(f"inputs={inputs}, hidden={hidden} and outputs={outputs} must be positive")
    return ModulatedMLP(inputs, hidden, outputs, modulation)
