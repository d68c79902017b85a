"""Recipes of one problem, training on 100 of scikit-learn's digits, that learn what training runs on.

A weight decay for each pixel (as Lorraine et al. 2020 learn one for each weight), and weights of auxiliary losses whose
worth is known (Navon et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, manual_seed, nn

from quickstudy import learners, nets, outer
from quickstudy.core import Examples, Learner, Task
from quickstudy.functional import random
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.one_task import OneTask

TARGETS = {"teacher": 10, "inputs": 64, "random": 10}
"""Auxiliary targets of a digit, and how many numbers each has."""


@dataclass
class DigitsRecipe(Recipe):
    """Training on a few digits; what it runs on is chosen by validation rows, and tested on the others."""

    test_tasks: ClassVar[int] = 10

    train_rows: int = 100
    """Number of rows to train on."""
    validation_rows: int = 500
    """Number of rows whose loss is minimised."""
    unused: ClassVar[int] = 0
    """Number of rows between the validation rows and the test rows."""
    split: int = 0
    """Number of the order in which all rows are dealt."""
    inner_steps: int = 300
    """Steps per training run."""
    lr: float = 1.0
    """Outer learning rate, for Adam."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    compile: bool | None = False
    """Compile a whole outer step (True), or only record it ('record'); None chooses. The few outer steps here do not
    repay it."""
    steps: int = 9
    meta_batch: int = 1

    def parts(self) -> tuple[Examples, ...]:
        """Return the rows: to train on, validation, in between, and test."""
        from sklearn.datasets import load_digits

        pixels, digits = load_digits(return_X_y=True)
        inputs, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
        order = random.permutation(random.key(self.split), len(labels))
        first = self.train_rows + self.validation_rows
        cut = torch.tensor_split(order, (self.train_rows, first, first + self.unused))
        return tuple(Examples(inputs[rows], labels[rows], ways=10) for rows in cut)

    def problem(self) -> tuple[Task, Examples]:
        """Return what is trained on with the validation rows, and the test rows."""
        train, validation, _, test = self.parts()
        return Task(train, validation), test

    def make_learner(self) -> Learner:
        """Return the learner, as it begins."""
        raise NotImplementedError

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        task, test = self.problem()
        manual_seed(self.seed)
        way = outer.Gradient(lr=self.lr, schedule=self.schedule)
        return RecipeParts(self.make_learner(), OneTask(task), None, OneTask(task.support, test), way)


@recipe("digits-decays", learner="HyperParameters", paper="Lorraine et al. 2020")
@dataclass
class DigitsDecays(DigitsRecipe):
    """A weight decay for each pixel of logistic regression."""

    inner_lr: float = 2.0
    """Inner learning rate, for gradient descent."""
    decay: float = 1e-3
    """Initial value of each weight decay."""

    def make_learner(self) -> learners.HyperParameters:
        """Return the learner."""
        learner = learners.HyperParameters(
            nets.mlp(64, (), 10), self.inner_lr, self.decay, strengths="input", steps=self.inner_steps
        )
        learner.rule.log_lr.requires_grad_(False)
        return learner


@recipe("digits-auxiliary", learner="AuxiliaryLosses", paper="Navon et al. 2021")
@dataclass
class DigitsAuxiliary(DigitsRecipe):
    """Weights of auxiliary losses: what a teacher answers, the pixels themselves, and random numbers.

    The teacher is a logistic regression on 700 other rows.
    """

    validation_rows: int = 300
    unused: ClassVar[int] = 700
    inner_steps: int = 200
    inner_lr: float = 0.3
    """Inner learning rate, for gradient descent."""
    width: int = 32
    """Width of the hidden layer."""
    weight: float = 0.1
    """Initial weight of each loss."""
    lr: float = 0.5
    """Outer learning rate, for Adam."""
    teaching: int = 300
    """Number of gradient-descent steps that train the teacher."""
    steps: int = 12

    def problem(self) -> tuple[Task, Examples]:
        """Return what is trained on with the validation rows, and the test rows."""
        train, validation, taught, test = self.parts()
        targets = {
            "inputs": train.inputs,
            "teacher": teacher(taught, train.inputs, self.teaching),
            "random": 3 * random.normal(random.fold_in(random.key(self.split), 1), len(train), TARGETS["random"]),
        }
        judged, unseen = (Examples({"inputs": rows.inputs}, rows.labels, ways=10) for rows in (validation, test))
        return Task(Examples(targets, train.labels, ways=10), judged), unseen

    def make_learner(self) -> learners.AuxiliaryLosses:
        """Return the learner."""
        net = nets.mlp(64, (self.width,), 10 + sum(TARGETS.values()))
        return learners.AuxiliaryLosses(net, 10, TARGETS, self.weight, self.inner_lr, self.inner_steps)


def teacher(rows: Examples, asked: Tensor, steps: int) -> Tensor:
    """Return the log-probabilities (S, N) of logistic regression, divided by 4 to be of other targets' size."""
    net = nn.Linear(asked.shape[1], 10)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    descent = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(steps):
        descent.zero_grad()
        nn.functional.cross_entropy(net(rows.inputs), rows.labels).backward()  # type: ignore[no-untyped-call]
        descent.step()
    answers: Tensor = net(asked).detach().log_softmax(1)
    return answers / 4
