"""The multilayer perceptron of the sinusoid experiments, with an optional context input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional.checks import flat_rows
from quickstudy.registry import register


class MLP(nn.Module):
    """Linear layers with ReLU between; `context` more inputs, shared by all rows, come after the others."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int | None, context: int) -> None:
        super().__init__()
        self.context = context
        sizes = [inputs + context, *hidden]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(a, b)]
            # An embedding ends linear: ReLU would fold half of the space away.
            if outputs is not None or i < len(hidden) - 1:
                layers += [nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], outputs) if outputs is not None else nn.Identity()
        self.features = sizes[-1]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map x (S, ...) and context (C,) to (S, outputs)."""
        x = flat_rows(x)
        if self.context:
            context = x.new_zeros(self.context) if context is None else context
            x = torch.cat([x, context.expand(len(x), -1)], 1)
        return self.head(self.body(x))  # type: ignore[no-any-return]


@register("net")
def mlp(inputs: int, hidden: Sequence[int] = (64, 64), outputs: int | None = None, context: int = 0) -> MLP:
    """Multilayer perceptron on flattened inputs.

    Args:
        inputs: number of input features D (for images channels x height x width).
        hidden: width of each hidden layer. Without outputs the last one is the embedding.
        outputs: number of outputs; None for an embedding.
        context: number of context inputs, for CAVIA.

    Raises:
        InputError: a size that is not positive.
    """
    hidden = tuple(hidden)
    if min(inputs, 1 if outputs is None else outputs, *hidden) < 1 or context < 0:
        raise InputError(
            f"inputs={inputs}, hidden={hidden} and outputs={outputs} must be positive, and context={context} 0 or more"
        )
    return MLP(inputs, hidden, outputs, context)
