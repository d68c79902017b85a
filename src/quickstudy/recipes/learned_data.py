"""Recipes that learn what a net is trained on, on scikit-learn's digits: weights of rows, rows, changes of rows.

A task is one problem, to fit a net to the rows that there are, from a fresh beginning each time; other rows judge.
Tests are the same problem from other beginnings, judged by rows that nothing was learned from
(docs/studies/learned-data.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, manual_seed, nn

from quickstudy import learners, nets, outer, rules
from quickstudy.core import Examples, Learner
from quickstudy.functional import random
from quickstudy.nets.augmentations import affine
from quickstudy.outer.base import Outer, Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.problems.restarts import Restarts


def digits(key: Tensor) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 1,797 digits in an order drawn with a key: inputs (1797, 64) in 0..1, and labels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = random.permutation(key, len(labels))
    return torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(labels)[order]


def ranks(labels: Tensor) -> Tensor:
    """Return how many rows of its class come before each row (S,)."""
    every = torch.stack([(labels == label).cumsum(0) for label in range(int(labels.max()) + 1)])
    return every[labels, torch.arange(len(labels))] - 1


@dataclass
class LearnedDataRecipe(Recipe):
    """One problem from many beginnings, and what it is trained on learned."""

    test_tasks: ClassVar[int] = 10

    split: int = 0
    """Number of the order in which all rows are dealt."""
    hidden: int = 100
    """Width of the net's hidden layer."""
    meta_batch: int = 4

    def parts(self) -> tuple[Examples, Examples, Examples]:
        """Return the rows: to fit, to learn by, and for tests."""
        raise NotImplementedError

    def make_learner(self) -> Learner:
        """Return the learner, as it begins."""
        raise NotImplementedError

    def make_outer(self) -> Outer:
        """Return the outer optimiser."""
        raise NotImplementedError

    def net(self) -> nn.Module:
        """Return the net; only its shapes matter."""
        return nets.mlp(64, (self.hidden,), 10)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        rows, query, test = self.parts()
        manual_seed(self.seed)
        learner, net = self.make_learner(), self.net()
        train = Restarts(net, rows, query, seed=1000 + self.seed)
        return RecipeParts(learner, train, None, Restarts(net, rows, test, seed=self.seed), self.make_outer())


class NoisyRows(NamedTuple):
    """Digits, some of which have a wrong label."""

    train: Examples
    truth: Examples
    """The same rows with their right labels."""
    clean: Examples
    test: Examples
    wrong: Tensor
    """Mask (S,) of the rows of `train` that have a wrong label."""


@recipe("digits-noisy-labels", learner="MetaWeightNet", paper="Shu et al. 2019")
@dataclass
class DigitsNoisyLabels(LearnedDataRecipe):
    """Meta-Weight-Net: a weight from each row's loss, where many labels are wrong and a few are known to be right."""

    train_rows: int = 600
    """Number of rows to fit."""
    wrong: float = 0.4
    """Share of rows whose label is another class, with all other classes alike."""
    clean_shots: int = 10
    """Rows per class with their right labels, from which the weights are learned."""
    inner_steps: int = 1000
    """Steps per training run."""
    inner_lr: float = 1.0
    """Learning rate of the net, for gradient descent."""
    batch: int = 50
    """Rows per step."""
    lr: float = 1e-3
    """Outer learning rate, for Adam; if it is too large, all weights go to 1."""
    steps: int = 1500

    def rows(self) -> NoisyRows:
        """Return all rows."""
        key = random.key(self.split)
        inputs, labels = digits(random.fold_in(key, 1))
        places, few = torch.arange(len(labels)), ranks(labels) < self.clean_shots
        clean, rest = places[few], places[~few]
        train, test = rest[: self.train_rows], rest[self.train_rows :]
        wrong = random.uniform(random.fold_in(key, 2), self.train_rows) < self.wrong
        other = (labels[train] + 1 + random.below(random.fold_in(key, 3), 9, self.train_rows)) % 10
        shown = torch.where(wrong, other, labels[train])
        pairs = [(train, shown), (train, labels[train]), (clean, labels[clean]), (test, labels[test])]
        parts = [Examples(inputs[rows], given, ways=10) for rows, given in pairs]
        return NoisyRows(parts[0], parts[1], parts[2], parts[3], wrong)

    def parts(self) -> tuple[Examples, Examples, Examples]:
        """Return the rows: with wrong labels, clean ones, and for tests."""
        rows = self.rows()
        return rows.train, rows.clean, rows.test

    def make_learner(self) -> learners.MetaWeightNet:
        """Return the learner."""
        rule = rules.SGD(self.inner_lr)
        return learners.MetaWeightNet(nets.LossWeights(), rule, self.inner_steps, self.batch)

    def make_outer(self) -> outer.Truncated:
        """Return the paper's online scheme: a step of weights for each step of the net."""
        return outer.Truncated(length=1, lr=self.lr)


@recipe("digits-distillation", learner="DatasetDistillation", paper="Wang et al. 2018")
@dataclass
class DigitsDistillation(LearnedDataRecipe):
    """A thousand digits distilled into ten synthetic ones, and the rates of ten steps on them, for any beginning."""

    train_rows: int = 1000
    """Number of rows that are distilled."""
    synthetic: int = 1
    """Synthetic digits per class."""
    inner_steps: int = 10
    """Number of steps on the synthetic digits."""
    inner_lr: float = 0.3
    """Initial learning rate of each step."""
    scale: float = 0.3
    """Initial standard deviation of synthetic pixels."""
    lr: float = 0.02
    """Outer learning rate, for Adam."""
    rates: float = 0.5
    """Factor on the outer learning rate for the logarithms of inner rates."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 800

    def parts(self) -> tuple[Examples, Examples, Examples]:
        """Return the rows: to distil, which are those to learn by, and for tests."""
        inputs, labels = digits(random.key(self.split))
        first, rest = slice(self.train_rows), slice(self.train_rows, None)
        train, test = (Examples(inputs[part], labels[part], ways=10) for part in (first, rest))
        return train, train, test

    def make_learner(self) -> learners.DatasetDistillation:
        """Return the learner."""
        return learners.DatasetDistillation(
            (64,), 10, self.synthetic, self.inner_steps, lr=self.inner_lr, scale=self.scale
        )

    def make_outer(self) -> outer.Gradient:
        """Return the outer optimiser."""
        return outer.Gradient(lr=self.lr, schedule=self.schedule, factors={"rule": self.rates})


@recipe("digits-augmentation", learner="LearnedAugmentation", paper="Mounsaveng et al. 2021")
@dataclass
class DigitsAugmentation(LearnedDataRecipe):
    """How far upright digits are turned, shifted, scaled and made noisy, for other digits that are turned."""

    train_rows: int = 600
    """Number of upright rows to fit."""
    query_rows: int = 200
    """Number of other rows, turned, from which the ranges are learned."""
    copies: int = 4
    """Number of copies of each query row, turned differently."""
    degrees: float = 30.0
    """Largest angle, either way, by which query rows and test rows are turned."""
    rotation: float = 10.0
    """Initial range of turns in degrees; from 0 nothing would be learned."""
    shift: float = 0.02
    """Initial range of shifts."""
    scale: float = 0.05
    """Initial range of scales."""
    noise: float = 0.05
    """Initial standard deviation of the noise."""
    hidden: int = 32
    """Width of the net's hidden layer."""
    inner_steps: int = 1000
    """Steps per training run."""
    inner_lr: float = 0.01
    """Learning rate of the net, for Adam."""
    batch: int = 50
    """Rows per step."""
    lr: float = 0.02
    """Outer learning rate, for Adam."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 1000

    def parts(self) -> tuple[Examples, Examples, Examples]:
        """Return the rows: upright ones, turned ones to learn by, and turned ones for tests."""
        key = random.key(self.split)
        inputs, labels = digits(key)
        inputs, ends = inputs.reshape(-1, 8, 8), (self.train_rows, self.train_rows + self.query_rows)
        train = Examples(inputs[: ends[0]], labels[: ends[0]], ways=10)
        query = self.turned(inputs[slice(*ends)], labels[slice(*ends)], random.fold_in(key, 2), self.copies)
        return train, query, self.turned(inputs[ends[1] :], labels[ends[1] :], random.fold_in(key, 3))

    def turned(self, inputs: Tensor, labels: Tensor, key: Tensor, copies: int = 1) -> Examples:
        """Return rows (S, 8, 8) so many times, each turned by an angle of its own."""
        inputs = inputs.repeat(copies, 1, 1)
        angles = self.degrees * (2 * random.uniform(key, len(inputs)) - 1)
        changed = affine(inputs, angles, torch.zeros(len(inputs), 2), torch.ones(len(inputs)))
        return Examples(changed, labels.repeat(copies), ways=10)

    def make_learner(self) -> learners.LearnedAugmentation:
        """Return the learner."""
        augment = nets.Augmentations([nets.Affine(self.rotation, self.shift, self.scale), nets.Jitter(self.noise)])
        return learners.LearnedAugmentation(augment, rules.Adam(self.inner_lr), self.inner_steps, self.batch)

    def make_outer(self) -> outer.Truncated:
        """Return the paper's online scheme: a step of ranges for each step of the net."""
        return outer.Truncated(length=1, lr=self.lr, schedule=self.schedule)
