"""Data that the shipped learned optimiser never met: all of it comes with scikit-learn or Python."""

from __future__ import annotations

import codecs
import importlib.util
import math
from typing import Any

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Tensor

Rows = tuple[Tensor, Tensor]
"""Inputs (rows, ...) and labels (rows, ...): integers for classes, else targets."""


def generator(seed: int) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)


def standardised(values: Any) -> Tensor:
    """Return columns of mean 0 and standard deviation 1."""
    columns = torch.as_tensor(values, dtype=torch.float32).reshape(len(values), -1)
    return (columns - columns.mean(0)) / columns.std(0).clamp_min(1e-8)


def classified(bunch: Any) -> Rows:
    """Return standardised features and classes of one of scikit-learn's data sets."""
    return standardised(bunch.data), torch.as_tensor(bunch.target, dtype=torch.int64)


def iris() -> Rows:
    """150 flowers, 4 features, 3 classes."""
    return classified(datasets.load_iris())


def wine() -> Rows:
    """178 wines, 13 features, 3 classes."""
    return classified(datasets.load_wine())


def cancer() -> Rows:
    """569 tumours, 30 features, 2 classes."""
    return classified(datasets.load_breast_cancer())


def diabetes() -> Rows:
    """442 patients, 10 features, one number to predict."""
    bunch = datasets.load_diabetes()
    return standardised(bunch.data), standardised(bunch.target)


def linnerud() -> Rows:
    """20 people, 3 exercises, 3 measures of their bodies to predict."""
    bunch = datasets.load_linnerud()
    return standardised(bunch.data), standardised(bunch.target)


def friedman() -> Rows:
    """500 rows of Friedman's first function of 10 uniform numbers, with noise."""
    inputs, targets = datasets.make_friedman1(500, noise=1.0, random_state=0)
    return standardised(inputs), standardised(targets)


def moons() -> Rows:
    """500 points of two interleaved half-moons, with noise."""
    inputs, labels = datasets.make_moons(500, noise=0.15, random_state=0)
    return standardised(inputs), torch.as_tensor(labels, dtype=torch.int64)


def swiss_roll() -> Rows:
    """500 points of a rolled surface, whose place along the roll is to predict."""
    inputs, targets = datasets.make_swiss_roll(500, noise=0.1, random_state=0)
    return standardised(inputs), standardised(targets)


def photograph(name: str, height: int, width: int) -> Tensor:
    """Return one of scikit-learn's photographs as (3, height, width) in [-1, 1], averaged over areas."""
    pixels = torch.tensor(datasets.load_sample_image(name), dtype=torch.float32).permute(2, 0, 1)
    return F.adaptive_avg_pool2d(pixels, (height, width)) / 127.5 - 1


def pixels(name: str) -> Rows:
    """Coordinates in [-1, 1] of 32 x 48 pixels, and their colours."""
    image = photograph(name, 32, 48)
    grid = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 48), indexing="ij")
    return torch.stack(grid, -1).reshape(-1, 2), image.permute(1, 2, 0).reshape(-1, 3)


def fourier_pixels(name: str) -> Rows:
    """The same, coordinates as 32 sines and 32 cosines of random frequencies."""
    places, colours = pixels(name)
    phases = places @ torch.randn(2, 32, generator=generator(1)) * 2 * math.pi
    return torch.cat([phases.sin(), phases.cos()], 1), colours


def brightness() -> Rows:
    """Row and column of 32 x 48 pixels, and how bright each is."""
    image = photograph("china.jpg", 32, 48).mean(0)
    places = torch.cartesian_prod(torch.arange(32), torch.arange(48))
    return places, standardised(image.reshape(-1, 1)).squeeze(1)


def flower_patches() -> Rows:
    """600 grey patches of 8 x 8 pixels, to be their own targets."""
    image = photograph("flower.jpg", 213, 320).mean(0)
    tiles = image.unfold(0, 8, 8).unfold(1, 8, 8).reshape(-1, 64)
    chosen = tiles[torch.randperm(len(tiles), generator=generator(2))[:600]]
    return chosen, chosen


def two_photographs() -> Rows:
    """512 colour patches of 12 x 12 pixels; the class is the photograph."""
    found = []
    for name in ("china.jpg", "flower.jpg"):
        tiles = photograph(name, 213, 320).unfold(1, 12, 12).unfold(2, 12, 12)
        tiles = tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3, 12, 12)
        found.append(tiles[torch.randperm(len(tiles), generator=generator(3))[:256]])
    return torch.cat(found), torch.arange(2).repeat_interleave(256)


def shapes(size: int = 12) -> Rows:
    """512 noisy drawings (1, size, size) of discs, squares, crosses and stripes at random places: 4 classes."""
    draw = generator(4)
    count = 512
    labels = torch.arange(count) % 4
    centre = (torch.rand(count, 2, 1, 1, generator=draw) * 0.4 + 0.3) * size
    radius = (torch.rand(count, 1, 1, generator=draw) * 0.12 + 0.14) * size
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    y, x = rows - centre[:, 0], columns - centre[:, 1]
    forms = torch.stack(
        [
            y.square() + x.square() <= radius.square(),
            (y.abs() <= radius) & (x.abs() <= radius),
            ((y.abs() <= 1) | (x.abs() <= 1)) & (y.abs() <= radius + 1) & (x.abs() <= radius + 1),
            (torch.remainder(y, 3) < 1.5) & (x.abs() <= radius + 1),
        ]
    ).float()
    images = forms[labels, torch.arange(count)] * 2 - 1
    return (images + 0.3 * torch.randn(images.shape, generator=draw)).unsqueeze(1), labels


def shapes_copied() -> Rows:
    """Drawings of 8 x 8 pixels as vectors, to be their own targets."""
    images = shapes(8)[0].flatten(1)
    return images, images


def windows(text: str, length: int, stride: int) -> Rows:
    """Return pieces (rows, length) of a text as numbers of its letters, and the letter after each."""
    letters = sorted(set(text))
    numbers = torch.tensor([letters.index(letter) for letter in text])
    rows = numbers.unfold(0, length + 1, stride)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def letters(rows: Rows) -> int:
    """Return how many different letters there are."""
    return int(torch.cat([each.flatten() for each in rows]).max()) + 1


def zen() -> Rows:
    """The Zen of Python, in pieces of 16 letters."""
    spec = importlib.util.find_spec("this")
    # To import the module would print it.
    source = spec.loader.get_source("this")  # type: ignore[union-attr]
    return windows(codecs.decode(source.split('"""')[1], "rot13"), 16, 3)


def descriptions() -> Rows:
    """Scikit-learn's description of the wine data, in pieces of 16 letters."""
    return windows(datasets.load_wine().DESCR[:2000], 16, 5)


def ill_conditioned() -> Rows:
    """Least squares in 128 dimensions, whose Hessian has eigenvalues from 1 to 1e-4."""
    draw = generator(5)
    left, right = (torch.linalg.qr(torch.randn(128, 128, generator=draw))[0] for _ in range(2))
    matrix = 8 * left @ torch.diag(torch.logspace(0, -2, 128)) @ right  # the mean of 128 squares: 2 * 8^2 / 128 = 1
    return matrix, matrix @ torch.randn(128, 1, generator=draw)


def numbers(count: int) -> Rows:
    """The numbers of so many residuals, all of them to become zero."""
    return torch.arange(count), torch.zeros(count)
