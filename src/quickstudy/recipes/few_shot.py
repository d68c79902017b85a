"""Image recipes: every method on glyphs, on Omniglot and on Double MNIST, from one configuration each.

`FewShotRecipe` and `SequentialRecipe` say how tasks are made; a subclass in `metric.py`, `optimization.py`, `model.py`,
`memory.py` or `baselines.py` says which learner and with which settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import manual_seed, nn

from quickstudy import datasets, nets, outer
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData, with_rotations
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.conv4 import Norm
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.outer.base import OptimizerName, Outer, Schedule
from quickstudy.recipes.base import Recipe, RecipeParts
from quickstudy.tasks.augmentations import Warp
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy.tasks.data.sequential import Sequential
from quickstudy.tasks.rows import as_floats

Data = Literal["glyphs", "omniglot", "double-mnist"]


@dataclass
class ImageRecipe(Recipe):
    """Classification of 28x28 drawings with a Conv4 net."""

    data: Data = "glyphs"
    """Source of the tasks: 'glyphs' (split by script), 'omniglot' (Vinyals' classes with rotations; tested on his
    validation classes) or 'double-mnist' (pairs of digits; parts share neither pairs nor handwriting)."""
    test_data: Literal["same", "glyphs", "omniglot"] = "same"
    """Source of the test tasks, if it differs from that of all others."""
    train_classes: int = 0
    """Number of meta-training classes, before rotations; 0 takes all."""
    rotations: bool = True
    """Whether, in meta-training on Omniglot, drawings turned by 90, 180 and 270 degrees are further classes."""
    ways: int = 5
    """Classes per task in validation and test."""
    hidden: int = 64
    """Filters per block of the net."""
    norm: Norm = "batch"
    """Normalisation in the net: 'batch', 'group', 'layer' or 'none'."""
    halve: Literal["pool", "stride"] = "pool"
    """Way in which each block halves its maps: by max-pooling, or by strided convolution, which costs a quarter."""
    batch_norm: BatchNormPolicy = "support"
    """Source of the batch statistics for queries: 'support' or 'transductive'."""
    optimizer: OptimizerName = "adam"
    """Outer optimiser; 'muon' takes a few times Adam's rate."""
    lr: float = 3e-3
    """Outer learning rate."""
    clip: float = 0.0
    """Largest norm of the meta-gradient; 0 does not clip."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate: 'constant', 'cosine', 'linear' or 'halving'."""
    steps: int = 1000
    meta_batch: int = 4

    def make_learner(self, train: ClassData) -> Learner:
        """Return the learner, given the meta-training data."""
        raise NotImplementedError

    def make_outer(self) -> Outer:
        """Return the outer optimiser."""
        return outer.Gradient(self.lr, optimizer=self.optimizer, clip=self.clip or None, schedule=self.schedule)

    def net(self, outputs: int | None = None, flatten: bool = True, context: int = 0, halvings: int = 4) -> nn.Module:
        """Return the backbone."""
        return nets.conv4(
            1,
            self.hidden,
            outputs,
            norm=self.norm,
            halve=self.halve,
            flatten=flatten,
            context=context,
            halvings=halvings,
        )

    def idle(self) -> set[str]:
        """Return the names of options that do nothing as they are set."""
        sources = {"omniglot", "both"} & {str(self.data), str(self.test_data)}
        same = {"test_data"} if self.test_data in ("same", self.data) else set()
        return super().idle() | same | (set() if sources else {"rotations"})

    def splits(self) -> tuple[ClassData, ClassData, ClassData]:
        """Return meta-training, -validation and -test data.

        Raises:
            InputError: more meta-training classes are asked for than there are.
        """
        train, validation, test = _splits(self.data)
        if self.train_classes > len(train.classes):
            raise InputError(f"train_classes={self.train_classes}, but there are {len(train.classes)}")
        if self.train_classes:
            order = random.permutation(random.key(0), len(train.classes))[: self.train_classes]
            train = train.subset([train.classes[i] for i in order.tolist()])
        if self.test_data not in ("same", self.data):
            test = _splits(self.test_data)[2]
        turned = [self.rotations and self.data == "omniglot", self.data == "omniglot", test.name.startswith("omniglot")]
        parts = zip((train, validation, test), turned, strict=True)
        return tuple(with_rotations(part) if turn else part for part, turn in parts)  # type: ignore[return-value]


@dataclass
class FewShotRecipe(ImageRecipe):
    """N-way K-shot classification of drawings."""

    shots: int = 1
    """Support rows per class in validation and test."""
    queries: int = 15
    """Query rows per class in validation and test."""
    train_ways: int = 5
    """Classes per task in meta-training."""
    train_shots: int = 1
    """Support rows per class in meta-training."""
    train_queries: int = 5
    """Query rows per class in meta-training."""
    warp: float = 0.0
    """Strength of the random warps of meta-training drawings (`tasks.Warp`); 0 leaves drawings unchanged."""

    def make_train(self, train: ClassData) -> TaskDistribution:
        """Return the meta-training tasks."""
        return FewShot(
            train, self.train_ways, self.train_shots, self.train_queries, self.seed, augment=self.augmentation()
        )

    def augmentation(self) -> Warp | None:
        """Return what changes meta-training drawings."""
        return Warp().times(self.warp) if self.warp else None

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        train, validation, test = self.splits()
        manual_seed(self.seed)  # the initial weights
        return RecipeParts(
            learner=self.make_learner(train),
            train=self.make_train(train),
            validation=FewShot(validation, self.ways, self.shots, min(5, self.queries), seed=1),
            test=FewShot(test, self.ways, self.shots, self.queries, seed=2),
            outer=self.make_outer(),
        )


@dataclass
class SequentialRecipe(ImageRecipe):
    """Drawings one by one, the label one step late (Santoro et al. 2016): accuracy as a class is presented again.

    Two things decide whether a learner that reads such sequences learns within thousands of them or not in tens of
    thousands. Features must start centred, or all are alike to whatever compares them. And the embedding must learn
    slower than what reads it. While nothing is remembered yet, its gradient is noise, but Adam normalises it to
    full-size steps; the reader then no longer matches the features.
    """

    presentations: int = 10
    """Examples of each class per sequence."""
    embedding_rate: float = 0.1
    """Factor by which the embedding's learning rate differs from that of everything else."""
    norm: Norm = "group"
    halve: Literal["pool", "stride"] = "stride"
    hidden: int = 32
    clip: float = 10.0
    lr: float = 1e-3
    steps: int = 4000
    meta_batch: int = 16

    def embedding(self, train: ClassData, features: int | None = None) -> nn.Module:
        """Return the backbone, projected to `features` if given, centred on a sample of the meta-training drawings."""
        rows = random.choose(random.key(self.seed), len(train), min(500, len(train)))
        return nets.Standardised(self.net(features), features).fit(as_floats(train.inputs[rows]))

    def make_outer(self) -> Outer:
        """Return the outer optimiser."""
        factors = {"net.": self.embedding_rate}
        return outer.Gradient(
            self.lr, optimizer=self.optimizer, clip=self.clip or None, schedule=self.schedule, factors=factors
        )

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        train, validation, test = self.splits()
        manual_seed(self.seed)  # the initial weights
        return RecipeParts(
            learner=self.make_learner(train),
            train=Sequential(train, self.ways, self.presentations, seed=self.seed),
            validation=Sequential(validation, self.ways, self.presentations, seed=1),
            test=Sequential(test, self.ways, self.presentations, seed=2),
            outer=self.make_outer(),
            options={"chunk": self.meta_batch},  # time steps are many and small: all sequences at once
        )


def _splits(data: str) -> tuple[ClassData, ...]:
    """Return drawings for training, for choosing, and for the figure; Omniglot's not turned yet.

    On Omniglot the figure is for Vinyals' validation classes ('Vinyals-val'); a tenth of his training classes is held
    out for choosing weights, so that nothing is chosen on what is reported. Pairs of digits are composed from MNIST's
    test file alone, 64x64 as published, and averaged to 28x28; each of the ten digits is in pairs of every part.
    """
    if data == "glyphs":
        return datasets.glyphs().split(by="script", seed=0)
    if data == "double-mnist":
        return tuple(_reduced(part) for part in datasets.double_mnist_split(digits="test"))
    listed, reported = datasets.omniglot_vinyals(subset="background", rotations=False)
    return (*listed.split(fractions=(0.9, 0.1), seed=0), reported)


def _reduced(data: ClassData) -> ClassData:
    """Return pictures averaged to 28x28."""
    small = F.adaptive_avg_pool2d(data.inputs.float(), 28)
    return replace(data, inputs=small.round().to(data.inputs.dtype))
