"""Imports easyfsl, and its users' data set: images in memory."""

# ruff: noqa: E402 - what comes first prepares the imports of what follows

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

# easyfsl imports torchvision, whose compiled operators fit only the very PyTorch they were compiled for (a CPU build of
# PyTorch often meets a CUDA build of torchvision). easyfsl uses none of them, so that it is enough to declare them.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
try:
    import torchvision  # noqa: F401
except RuntimeError:
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for module in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
        del sys.modules[module]

# Nor does its sampler's call `Sampler.__init__(data_source=None)` fit PyTorch 2.13, where that argument is gone.
torch.utils.data.Sampler.__init__ = lambda self, data_source=None: None  # type: ignore[method-assign]

from easyfsl.datasets import EasySet, FewShotDataset
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from torch.utils.data import DataLoader

__all__ = ["EasySet", "InMemory", "PrototypicalNetworks", "TaskSampler", "evaluate", "loader"]


class InMemory(FewShotDataset):  # type: ignore[misc]
    """Images that are in memory, with a transform that makes a tensor of one."""

    def __init__(self, images: Sequence[Any], labels: list[int], transform: Callable[[Any], torch.Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[item]), self.labels[item]

    def __len__(self) -> int:
        return len(self.labels)

    def get_labels(self) -> list[int]:
        return self.labels


def loader(data: FewShotDataset, sampler: TaskSampler, workers: int = 0) -> DataLoader[Any]:
    """Return the loader that easyfsl's notebooks build; its processes are forked, as Python 3.11 does on Linux."""
    warnings.filterwarnings("ignore", "This DataLoader will create")
    return DataLoader(
        data,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=sampler.episodic_collate_fn,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
