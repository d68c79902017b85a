"""The mixture of problems that a learned optimiser is meta-trained on: many kinds, all small."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from quickstudy.datasets import arrays, glyphs
from quickstudy.datasets.base import ClassData
from quickstudy.errors import unknown_name
from quickstudy.nets.optimizees import CharacterGRU, character_mlp, random_mlps, small_conv
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.problems.characters import Characters
from quickstudy.tasks.problems.convex import LogisticRegression, Quadratics
from quickstudy.tasks.problems.fitting import Fitting

Part = Literal["train", "val", "test"]
_FIFTHS: dict[Part, tuple[int, ...]] = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


def digits(part: Part | None = None) -> ClassData:
    """Return scikit-learn's handwritten digits (1797 of 8x8 pixels, in [0, 1]), or three, one or one fifth of each
    class.

    Raises:
        InputError: an unknown part.
    """
    from sklearn.datasets import load_digits

    if part is not None and part not in get_args(Part):
        raise unknown_name("part", part, get_args(Part))
    pixels, labels = load_digits(return_X_y=True)
    data = arrays(torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, labels, "digits")
    if part is None:
        return data
    within = torch.arange(len(data)) - data.starts[data.labels]
    keep = torch.isin(within % 5, torch.tensor(_FIFTHS[part]))
    return ClassData(data.inputs[keep], data.labels[keep], data.classes, f"digits {part}")


def optimizer_problems(seed: int = 0, block: int = 16, part: Part = "train") -> Mixture:
    """Return quadratics, logistic regressions, perceptrons and convolutional nets on digits and glyphs, and language
    models of characters, with nets and scales at random.

    In the spirit of the mixtures of Metz et al. 2020 ("Tasks, stability, architecture, and compute: Training more
    effective learned optimizers, and using them to train themselves") and VeLO (Metz et al. 2022), far smaller.
    Support rows are to be drawn in mini-batches by the learner (`L2O(batch=32)`); the query are other rows of the same
    problem.

    Args:
        seed: of the stream and of the random nets: another seed gives other nets.
        block: tasks of one family in a row: the tasks a meta-batch (see `Mixture`).
        part: other digits, glyphs of other scripts in 'val' and 'test' than in 'train'. The first call draws the
            glyphs, in well under a minute, and stores them.

    Raises:
        InputError: an unknown part, or a block below 1.
    """
    numbers = digits(part)
    figures = glyphs(size=14).split(by="script")[list(get_args(Part)).index(part)]
    return Mixture(families(numbers, figures, seed), "blocked", block, seed)


def families(numbers: ClassData, figures: ClassData, seed: int = 0) -> list[TaskDistribution]:
    """Return the families of problems, on images of at least 10 classes each (1, 8, 8) and (1, 14, 14)."""
    kinds: list[TaskDistribution] = [
        Quadratics(),
        Quadratics(20, conditioning=(1, 10), scale=(0.3, 1), start_scale=(0.1, 1)),
        LogisticRegression(conditioning=(1, 10), sharpness=(1, 10), start_scale=(0.1, 3)),
        LogisticRegression(20, 5, rows=128, conditioning=(1, 10), sharpness=(1, 10), start_scale=(0.1, 3)),
        _fitting(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), numbers),
    ]
    kinds += [_fitting(net, numbers) for net in random_mlps(4, 64, 10, seed)]
    kinds += [_fitting(net, figures) for net in random_mlps(2, 196, 10, seed + 1)]
    kinds += [_fitting(small_conv(1, 8, hidden, 10), numbers) for hidden in ((8,), (8, 16))]
    kinds += [_fitting(small_conv(1, 14, (8, 8), 10, "elu"), figures)]
    kinds += [Characters(net, start_scale=(0.5, 2)) for net in (character_mlp(64, 8), CharacterGRU(64, hidden=16))]
    return kinds


def _fitting(net: nn.Module, data: ClassData) -> Fitting:
    rows = 256 if int(data.counts.min()) >= 33 else 128
    return Fitting(net, data, rows, 64, ways=10, input_scale=(0.3, 3), start_scale=(0.5, 2))
