"""The work that cases share: initial weights and tasks, made from one seed, the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Context, Setting
from quickstudy.nets import conv4

Rows = tuple[Tensor, Tensor]
"""Inputs (S, ...) and labels (S,), or targets (S, 1), of one task."""


@dataclass
class Episodes:
    """Tasks, batched: inputs (T, S, ...) and labels (T, S), of support and query."""

    support: Rows
    query: Rows
    ways: int | None = None

    def __len__(self) -> int:
        return len(self.support[0])

    def tasks(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield the support and query of one task after the other."""
        for x, y, query_x, query_y in zip(*self.support, *self.query, strict=True):
            yield (x, y), (query_x, query_y)


@dataclass
class MAML:
    """A MAML outer step. Batch norm takes its statistics from the rows at hand ('transductive')."""

    net: nn.Module
    episodes: Episodes
    lr: float
    steps: int
    first_order: bool = False

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one task: cross-entropy, or squared error for targets."""
        return F.mse_loss(outputs, labels) if labels.dtype.is_floating_point else F.cross_entropy(outputs, labels)


@dataclass
class Proto:
    """A training step of a prototypical network with squared Euclidean distances; batch norm as for MAML."""

    net: nn.Module
    episodes: Episodes


def images(
    context: Context, tasks: int, ways: int, shots: int, queries: int, shape: tuple[int, int, int], seed: int = 1
) -> Episodes:
    """Return episodes of noisy copies of random class images, which can be learned a little, as real ones can."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.rand(tasks, ways, *shape, generator=random)

    def rows(count: int) -> Rows:
        labels = torch.arange(ways).repeat(count)
        x = centres[:, labels] * 0.5 + 0.5 * torch.rand(tasks, ways * count, *shape, generator=random)
        return x.to(context.device, context.dtype), labels.expand(tasks, -1).contiguous().to(context.device)

    return Episodes(rows(shots), rows(queries), ways)


def conv4_maml(
    setting: Setting, context: Context, lr: float, queries: int, channels: int = 1, hidden: int = 64, size: int = 28
) -> MAML:
    """Return MAML with Conv4 on 1 shot of images; 'ways', 'filters' and 'order' of a setting are optional."""
    ways = setting.get("ways", 5)
    net = seeded(conv4(channels, setting.get("filters", hidden), outputs=ways, size=size), context)
    episodes = images(context, setting["tasks"], ways, 1, queries, (channels, size, size))
    return MAML(net, episodes, lr, setting["steps"], setting.get("order") == "first order")


def seeded(net: nn.Module, context: Context, seed: int = 0) -> nn.Module:
    """Return a net with fresh weights, of PyTorch's usual size, that depend on nothing but the seed."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=random) / (3 * p[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                p.zero_()
            else:
                p.fill_(1)  # the scale of a norm
    return net.to(context.device, context.dtype)
