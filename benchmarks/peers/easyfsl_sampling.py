"""Episodes from easyfsl's TaskSampler through a DataLoader."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.case import Context, Step
from benchmarks.peers.easyfsl_parts import InMemory, TaskSampler, loader
from benchmarks.peers.images import Images, facts


def from_tensor(image: Tensor) -> Tensor:
    """Return floats in [0, 1], as Quickstudy's tasks are."""
    return image.float() / 255


class EasyFSL(Step):
    """Draws episodes one after the other."""

    def __init__(self, problem: Images, items: str, workers: int) -> None:
        images: Any = problem.images
        transform: Any = from_tensor
        if items == "PIL":
            from torchvision.transforms import ToTensor

            images, transform = [Image.fromarray(image[0].numpy()) for image in problem.images], ToTensor()
        data = InMemory(images, problem.labels.tolist(), transform)
        sampler = TaskSampler(data, problem.ways, problem.shots, problem.queries, n_tasks=problem.episodes)
        self.loader = loader(data, sampler, workers)

    def step(self) -> None:
        for _ in self.loader:
            pass

    def check(self) -> dict[str, Tensor]:
        episodes = [facts(x, y, query_x, query_y) for x, y, query_x, query_y, _ in self.loader]
        return {"every episode": torch.stack(episodes)}


def build(problem: Images, context: Context, items: str = "tensor", workers: int = 0) -> Step:
    return EasyFSL(problem, items, workers)
