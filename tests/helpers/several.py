"""Data and nets whose inputs are pytrees: token ids with their mask, and a small image beside numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.datasets import ClassData


def sentences(classes: int = 8, each: int = 6, length: int = 5, words: int = 30, seed: int = 0) -> ClassData:
    """Return data of token ids and a mask of those that count; a class has a few words of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(each)  # unsorted on purpose
    own = torch.randint(words, (classes, 3), generator=generator)
    ids = own[labels].gather(1, torch.randint(3, (len(labels), length), generator=generator))
    sizes = torch.randint(1, length + 1, (len(labels), 1), generator=generator)
    return ClassData(
        inputs={"ids": ids, "mask": torch.arange(length) < sizes},
        labels=labels,
        classes=tuple(f"topic {i}" for i in range(classes)),
        name="sentences",
        source=torch.arange(len(labels)),
    )


class Reader(nn.Module):
    """The mean embedding of the words that count, or logits of it; the net counts the rows that it reads."""

    def __init__(self, words: int = 30, outputs: int | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 6)
        self.head = nn.Identity() if outputs is None else nn.Linear(6, outputs)
        self.rows = 0

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (S, features) of ids and mask (S, L)."""
        self.rows += len(ids)
        weights = mask.to(self.words.weight.dtype).unsqueeze(-1)
        return self.head((weights * self.words(ids)).sum(1) / weights.sum(1).clamp_min(1))


class Both(nn.Module):
    """Features of an image and of numbers beside it."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.image, self.numbers = nn.Linear(4, outputs), nn.Linear(3, outputs)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        """Return (S, outputs) of images (S, 1, 2, 2) and numbers (S, 3)."""
        return self.image(image.flatten(1)) + self.numbers(numbers)


def pictures(classes: int = 5, each: int = 4) -> ClassData:
    """Return data of 8-bit images and numbers."""
    torch.manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    inputs: Any = (torch.randint(256, (len(labels), 1, 2, 2), dtype=torch.uint8), torch.randn(len(labels), 3))
    return ClassData(inputs, labels, tuple(f"thing {i}" for i in range(classes)), name="pictures")
