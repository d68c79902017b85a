"""What all tests share: one thread, fixed random numbers, tiny tasks."""

from collections.abc import Iterator

import pytest
import torch

import quickstudy as qs

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """Start every test from the same random state, and put back the default dtype."""
    torch.manual_seed(0)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture
def float64() -> Iterator[None]:
    """Make float64 the default dtype, for comparisons to rounding error."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def blobs() -> qs.datasets.ClassData:
    """Return 12 classes of 10 points each in 4 dimensions, in three groups, from two sources."""
    return make_blobs()


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
