"""A space of 125 cells on scikit-learn's digits: every one trained, and DARTS' searches in it (recipe `digits-darts`).

`nets.conv_cells`: two equal cells of three edges, each with one of NAS-Bench-201's five operations. Of the 1,797 digits
300 are trained on, 300 choose between architectures, and the other 1,197 say how good one is. Rates and chosen were
chosen on split 0; what is reported is split 1.

What a search costs is counted in training runs of one architecture: gradients of rows by its steps. A mixed net has the
gradients of all operations, so that one of its rows counts as many times, and a product with the Hessian counts as two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

import torch
from torch import Tensor

from quickstudy import batching, rules
from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.learners import DARTS, L2O
from quickstudy.nets.mixed_cells import CellNet
from quickstudy.objectives import InnerSteps
from quickstudy.recipes.architectures import DigitsDARTS, Order
from quickstudy.tasks import Restarts
from quickstudy.training.starting import meta_train

ORDERS: tuple[Order, ...] = get_args(Order)
Architecture = tuple[int, ...]
SPLIT = 1
EVERY = 10
"""Steps of a search between two mixtures that are kept."""


@dataclass(frozen=True)
class Training:
    """Settings of the training of one architecture."""

    train: int = 300
    validation: int = 300
    nodes: int = 3
    hidden: int = 8
    steps: int = 500
    batch: int = 50
    lr: float = 0.01
    beginnings: int = 4
    """Training runs of each architecture."""


@dataclass(frozen=True)
class Search:
    """Settings of a search by DARTS, which trains the mixed net as `Training` says."""

    steps: int = 500
    lr: float = 0.02
    weight_decay: float = 1e-3


def recipe(settings: Training) -> DigitsDARTS:
    """Return the recipe with these cells, rows and mini-batches."""
    return DigitsDARTS(
        split=SPLIT,
        train_rows=settings.train,
        validation_rows=settings.validation,
        nodes=settings.nodes,
        hidden=settings.hidden,
        batch=settings.batch,
        inner_lr=settings.lr,
    )


def net(settings: Training) -> CellNet:
    """Return the net whose cells are searched."""
    return recipe(settings).net()


def architectures(settings: Training) -> list[Architecture]:
    """Return all of them."""
    edges, operations = net(settings).choices
    return list(product(range(operations), repeat=edges))


def name(architecture: Architecture) -> str:
    """Return the name of an architecture, the numbers of its operations."""
    return "-".join(map(str, architecture))


def rows(settings: Training) -> tuple[Examples, Examples, Examples]:
    """Return the rows to train on, to choose by and to judge by."""
    return recipe(settings).rows()


def train(architecture: Architecture, settings: Training) -> dict[str, list[float]]:
    """Train one architecture from several beginnings; return its accuracies on the rows to choose and to judge by."""
    support, *judges = rows(settings)
    tasks = Restarts(net(settings).discrete(architecture), support, support).batch(0, settings.beginnings)
    learner = L2O(rules.Adam(settings.lr), settings.steps, settings.batch)
    keys = random.fold_in(random.key(SPLIT), torch.arange(settings.beginnings))
    with torch.no_grad():
        states = batching.adapt(learner, tasks.support, keys)
    return {
        name: _accuracies(learner, states, tasks.query.inputs, part)
        for name, part in zip(("validation", "test"), judges, strict=True)
    }


def _accuracies(learner: L2O, states: Any, like: Any, part: Examples) -> list[float]:
    inputs = type(like)(part.inputs.expand(len(like.inputs), *part.inputs.shape), like.net)
    with torch.no_grad():
        right = batching.predict(learner, states, inputs).argmax(-1) == part.labels
    return right.double().mean(1).tolist()  # type: ignore[no-any-return]


class Watched(InnerSteps):
    """The objective, and what the mixture was before each outer step."""

    def __init__(self, alpha: Tensor) -> None:
        super().__init__()
        self.alpha = alpha
        self.seen: list[list[list[float]]] = []

    def schedule(self, done: float) -> None:
        """Look at alpha."""
        self.seen.append(self.alpha.detach().softmax(-1).tolist())


def search(order: Order, seed: int, settings: Training, how: Search) -> dict[str, Any]:
    """Search by DARTS; return the architecture, and the mixture along the way."""
    chosen = replace(recipe(settings), order=order, seed=seed, steps=how.steps, inner_steps=how.steps)
    plan = replace(chosen, lr=how.lr, weight_decay=how.weight_decay).plan()
    learner = plan.learner
    assert isinstance(learner, DARTS)
    watched = Watched(learner.adapted.alpha)
    meta_train(
        learner,
        plan.train,
        plan.outer,
        steps=how.steps,
        meta_batch=1,
        objective=watched,
        seed=seed,
        progress=False,
    )
    watched.schedule(1.0)
    return {"architecture": list(learner.architecture()), "mixtures": watched.seen[::EVERY]}


def cost(order: Order, settings: Training, how: Search) -> float:
    """Return what a search costs, in training runs of one architecture."""
    gradients = 2 if order == "first" else 4
    _, operations = net(settings).choices
    return operations * gradients * how.steps / settings.steps
