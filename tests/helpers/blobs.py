"""A tiny data set of points."""

import torch

import quickstudy as qs


def make_blobs(classes: int = 12, each: int = 10, features: int = 4) -> qs.datasets.ClassData:
    generator = torch.Generator().manual_seed(3)
    centres = 2 * torch.randn(classes, features, generator=generator)
    labels = torch.arange(classes).repeat_interleave(each)
    inputs = centres[labels] + 0.4 * torch.randn(len(labels), features, generator=generator)
    return qs.datasets.ClassData(
        inputs,
        labels,
        tuple(f"class{i:02}" for i in range(classes)),
        name="blobs",
        attributes={"group": tuple("abc"[i % 3] for i in range(classes))},
        source=torch.arange(len(labels)) % 5,
    )
