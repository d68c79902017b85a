"""Episodes from easyfsl's TaskSampler through a DataLoader: of tensors or PIL images in memory, or of image files."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.case import Context, Step
from benchmarks.peers.easyfsl_parts import EasySet, InMemory, TaskSampler, loader
from benchmarks.peers.images import Images, facts


def from_tensor(image: Tensor) -> Tensor:
    """Return floats in [0, 1], as Quickstudy's tasks are."""
    return image.float() / 255


def in_files(images: Tensor, labels: Tensor, folder: Path) -> EasySet:
    """Write each image as a PNG into its class's folder, and return easyfsl's own data set of them."""
    from torchvision.transforms import Compose, Grayscale, ToTensor

    roots = [folder / f"{label:07d}" for label in range(int(labels.max()) + 1)]
    for root in roots:
        root.mkdir()
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        Image.fromarray(image[0].numpy()).save(roots[label] / f"{number:07d}.png")
    specs = folder / "specs.json"
    specs.write_text(json.dumps({"class_names": [root.name for root in roots], "class_roots": list(map(str, roots))}))
    return EasySet(specs, transform=Compose([Grayscale(), ToTensor()]))


class EasyFSL(Step):
    """Draws episodes one after the other."""

    def __init__(self, problem: Images, items: str, workers: int) -> None:
        images: Any = problem.images
        transform: Any = from_tensor
        if items == "PIL":
            from torchvision.transforms import ToTensor

            images, transform = [Image.fromarray(image[0].numpy()) for image in problem.images], ToTensor()
        data = InMemory(images, problem.labels.tolist(), transform)
        if items == "files":
            self.folder = TemporaryDirectory()  # removed with this object
            data = in_files(problem.images, problem.labels, Path(self.folder.name))
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
