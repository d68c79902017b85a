"""Data sets of generated images, and what must hold of any episode drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PER_CLASS = 20
"""Images a class, as in Omniglot."""


@dataclass
class Images:
    """Images uint8 (M, 1, 28, 28), sorted by class, and episodes to be drawn from them."""

    images: Tensor
    labels: Tensor
    episodes: int
    at_once: int
    ways: int = 5
    shots: int = 1
    queries: int = 15


@dataclass
class Evaluation(Images):
    """Also a net, in evaluation mode, whose batch norm has running statistics."""

    net: nn.Module | None = None


def generate(count: int, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Return images and labels. The first pixels of an image tell its class (three bytes) and which of it it is."""
    random = torch.Generator().manual_seed(seed)
    block = torch.randint(0, 256, (min(count, 1000), 1, 28, 28), generator=random, dtype=torch.uint8)
    images = block.repeat(-(-count // len(block)), 1, 1, 1)[:count]
    number = torch.arange(count)
    labels = number // PER_CLASS
    for place, value in enumerate((labels % 256, labels // 256 % 256, labels // 65536, number % PER_CLASS)):
        images[:, 0, 0, place] = value.to(torch.uint8)
    return images, labels


def facts(support: Tensor, support_labels: Tensor, query: Tensor, query_labels: Tensor) -> Tensor:
    """Return what every sampler must get right, of one episode.

    The numbers of support and query rows, of classes, and of distinct images; and how many images have the label that
    the others of their class have.
    """
    codes = torch.cat([support, query])[:, 0, 0, :4].mul(255).round().long()
    labels = torch.cat([support_labels, query_labels])
    classes = codes[:, 0] + 256 * codes[:, 1] + 65536 * codes[:, 2]
    distinct = len(torch.unique(classes * PER_CLASS + codes[:, 3]))
    pairs = torch.unique(torch.stack([classes, labels]), dim=1)
    consistent = sum(int((pairs[0] == c).sum() == 1) * int((classes == c).sum()) for c in pairs[0])
    return torch.tensor([len(support), len(query), len(torch.unique(classes)), distinct, consistent])


def bank_rows(problem: Images) -> Any:
    """Return the data, the task distribution and a bank of fixed tasks, as Quickstudy has them."""
    import quickstudy as qs

    data = qs.datasets.arrays(problem.images, problem.labels)
    tasks = qs.tasks.FewShot(data, problem.ways, problem.shots, problem.queries)
    return tasks, tasks.bank(problem.episodes)
