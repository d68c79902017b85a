"""Recipes of tables: one learner for tables of any numbers of attributes and classes, tried on one it never met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed

from quickstudy import datasets, learners, outer
from quickstudy.datasets.tables import TABLES
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.data.attributes import Attributes
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy.tasks.mixture import Mixture

WAYS = 3
"""Largest number of classes per task."""


def table_tasks(name: str, shots: tuple[int, int], queries: int, slots: int, seed: int = 0) -> Attributes:
    """Return tasks of 2 or 3 classes and 2 to `slots` attributes, as many as the table has, drawn at random.

    Attributes are standardised by the rows of a task's support, so that nothing is known but these.
    """
    data = datasets.table(name)
    source = FewShot(data, (2, min(WAYS, len(data.classes))), shots, queries)
    return Attributes(source, slots, (2, slots), WAYS, standardise=True, seed=seed)


@recipe("tables-attribute-sets", learner="AttributeSets", paper="Iwata & Kumagai 2020")
@dataclass
class TablesAttributeSets(Recipe):
    """Tables of scikit-learn, all but one; test tasks are of that one."""

    held_out: Literal["cancer", "digits", "iris", "wine"] = "wine"
    """Table from which the test tasks come."""
    shots: int = 5
    """Support rows per class in test; meta-training tasks have between 1 and this many."""
    queries: int = 5
    """Query rows per class in meta-training; test tasks have 15."""
    slots: int = 16
    """Largest number of attributes per task."""
    width: int = 32
    """Width of the learner's layers."""
    lr: float = 3e-3
    """Outer learning rate, for Adam."""
    clip: float = 1.0
    """Largest norm of the meta-gradient."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 2000
    meta_batch: int = 16

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        parts = [
            table_tasks(name, (1, self.shots), self.queries, self.slots) for name in TABLES if name != self.held_out
        ]
        return RecipeParts(
            learner=learners.AttributeSets(self.width),
            train=Mixture(parts, seed=self.seed),
            validation=None,
            test=table_tasks(self.held_out, (self.shots, self.shots), 15, self.slots, self.seed),
            outer=outer.Gradient(lr=self.lr, clip=self.clip, schedule=self.schedule),
        )
