"""Nets of shapes and kinds that the shipped learned optimiser never met."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn


def dense(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers with an activation between."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """x + what a module makes of it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.inner(x)  # type: ignore[no-any-return]


def residual_mlp(inputs: int, width: int, blocks: int, outputs: int) -> nn.Module:
    """Return an MLP of residual blocks with layer norm."""
    block = [Residual(nn.Sequential(nn.LayerNorm(width), dense(width, width, width))) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(inputs, width), *block, nn.LayerNorm(width), nn.Linear(width, outputs))


def batch_norm_convnet() -> nn.Module:
    """Return a ConvNet with batch norm for colour patches of two classes."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 9, 2),
    )


def layer_norm_convnet() -> nn.Module:
    """Return four convolutions, each with layer norm, for drawings of four classes."""
    layers: list[nn.Module] = []
    for a, b, stride in ((1, 8, 1), (8, 12, 2), (12, 16, 2), (16, 16, 1)):
        # One group: each image normalised over all its channels and places.
        layers += [nn.Conv2d(a, b, 3, stride, padding=1), nn.GroupNorm(1, b), nn.GELU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 9, 4))


class Sine(nn.Module):
    """A layer sin(frequency (W x + b)) (Sitzmann et al. 2020), with their initialisation."""

    def __init__(self, inputs: int, outputs: int, frequency: float = 10.0, first: bool = False) -> None:
        super().__init__()
        self.linear, self.frequency = nn.Linear(inputs, outputs), frequency
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / frequency
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs)."""
        return torch.sin(self.frequency * self.linear(x))


class GRU(nn.Module):
    """Letters to letters: an embedding, a gated recurrent unit of linear layers (Cho et al. 2014), a linear layer."""

    def __init__(self, letters: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.gates, self.candidate = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, letters)

    def forward(self, x: Tensor) -> Tensor:
        """Map letters (rows, length) to logits (rows, letters, length)."""
        inputs = self.embedding(x)
        h = torch.zeros_like(inputs[:, 0])
        found = []
        for each in inputs.unbind(1):
            z, r = torch.sigmoid(self.gates(torch.cat([each, h], -1))).chunk(2, -1)
            h = (1 - z) * h + z * torch.tanh(self.candidate(torch.cat([each, r * h], -1)))
            found.append(h)
        return self.head(torch.stack(found, 1)).transpose(1, 2)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Causal attention of several heads (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.mix, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, length, width) to the same shape."""
        rows, length, width = x.shape
        parts = self.mix(x).reshape(rows, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(rows, length, width))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Letters to letters: one pre-norm block."""

    def __init__(self, letters: int, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.block = nn.Sequential(
            Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, heads))),
            Residual(nn.Sequential(nn.LayerNorm(width), dense(width, 4 * width, width, activation=nn.GELU))),
            nn.LayerNorm(width),
            nn.Linear(width, letters),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map letters (rows, length) to logits (rows, letters, length)."""
        places = torch.arange(x.shape[1], device=x.device)
        return self.block(self.embedding(x) + self.place(places)).transpose(1, 2)  # type: ignore[no-any-return]


class Factors(nn.Module):
    """A matrix of low rank, U V^T, asked for some of its entries."""

    def __init__(self, height: int, width: int, rank: int) -> None:
        super().__init__()
        self.left, self.right = (nn.Parameter(0.3 * torch.randn(size, rank)) for size in (height, width))

    def forward(self, places: Tensor) -> Tensor:
        """Return the entries at places (rows, 2)."""
        return (self.left[places[:, 0]] * self.right[places[:, 1]]).sum(-1)


class Rosenbrock(nn.Module):
    """Residuals of the chained Rosenbrock function, 10 (x_i+1 - x_i^2) and 1 - x_i, from near its classic start."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        start = torch.tensor([-1.2, 1.0]).repeat(dimensions // 2)
        self.x = nn.Parameter(start + 0.1 * torch.randn(dimensions))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the residuals of these numbers."""
        valley, slope = 10 * (self.x[1:] - self.x[:-1].square()), 1 - self.x[:-1]
        return torch.cat([valley, slope])[rows]
