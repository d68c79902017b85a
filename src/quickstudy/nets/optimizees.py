"""Small nets that learned optimisers are meta-trained to train.

`nets.initialisation` knows the law of every layer here, and all layers pass second derivatives under vmap.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError, unknown_name
from quickstudy.nets.recurrent import GRUCell

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "relu") -> nn.Sequential:
    """Return linear layers of any activation, from (S, ...) of `inputs` numbers to (S, outputs)."""
    act = _activation(activation)
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise([inputs, *hidden]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers, nn.Linear([inputs, *hidden][-1], outputs))


def random_mlps(
    count: int,
    inputs: int,
    outputs: int,
    seed: int = 0,
    depth: tuple[int, int] = (1, 3),
    width: tuple[int, int] = (8, 64),
) -> list[nn.Sequential]:
    """Return perceptrons of random depth, width and activation.

    Args:
        count: number of nets.
        inputs: size of an input.
        outputs: number of outputs of each net.
        seed: seed of the structures (problems bring parameters of their own).
        depth: range of the number of hidden layers, drawn uniformly.
        width: range of the width of hidden layers, drawn log-uniformly once per net.

    Raises:
        InputError: a range is empty or has numbers below 1.
    """
    for name, (low, high) in (("depth", depth), ("width", width)):
        if not 1 <= low <= high:
            raise InputError(f"{name} must be a range (low, high) of positive numbers, not {(low, high)}")
    draw = random.Random(seed)
    nets = []
    for _ in range(count):
        layers = draw.randint(*depth)
        size = round(math.exp(draw.uniform(*map(math.log, width))))
        nets.append(perceptron(inputs, [size] * layers, outputs, draw.choice(list(ACTIVATIONS))))
    return nets


def small_conv(
    channels: int, size: int, hidden: Sequence[int], outputs: int, activation: str = "relu"
) -> nn.Sequential:
    """Return 3x3 convolutions of stride 2 and a linear head, from images (S, channels, size, size) to (S, outputs)."""
    act = _activation(activation)
    layers: list[nn.Module] = []
    for a, b in pairwise([channels, *hidden]):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), act()]
        size = (size + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear([channels, *hidden][-1] * size * size, outputs))


def character_mlp(vocabulary: int, context: int, embedding: int = 8, hidden: int = 32) -> nn.Sequential:
    """Return a neural language model (Bengio et al. 2003), from characters (S, context) to (S, vocabulary) logits."""
    return nn.Sequential(
        nn.Embedding(vocabulary, embedding),
        nn.Flatten(),
        nn.Linear(context * embedding, hidden),
        nn.Tanh(),
        nn.Linear(hidden, vocabulary),
    )


class CharacterGRU(nn.Module):
    """A gated recurrent unit over embedded characters, from (S, context) to (S, vocabulary) logits of the next."""

    def __init__(self, vocabulary: int, embedding: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.cell = GRUCell(embedding, hidden)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, characters: Tensor) -> Tensor:
        """Read a window of characters."""
        state = self.cell.start(len(characters))
        outputs = torch.zeros_like(state)
        for step in self.cell.steps(self.embedding(characters).transpose(0, 1)):
            outputs, state = step(state)
        return self.head(outputs)  # type: ignore[no-any-return]


def _activation(name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
