"""A recipe of architecture search: DARTS (Liu et al. 2019) on the cells of a net for scikit-learn's digits.

Cells have NAS-Bench-201's operations (`nets.conv_cells`). Weights learn from 300 rows, the mixture from 300 others, a
step each in turns; the other 1,197 are for tests. The test is of the mixed net, trained anew with the mixture that was
found; the architecture itself is `learner.discrete()`, to be trained from scratch (docs/studies/architectures.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import manual_seed

from quickstudy import learners, nets, outer, rules
from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.nets.mixed_cells import CellNet
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.one_task import OneTask
from quickstudy.tasks.problems.optimizer_problems import digits

Order = Literal["first", "second"]


@recipe("digits-darts", learner="DARTS", paper="Liu et al. 2019")
@dataclass
class DigitsDARTS(Recipe):
    """Choice of the operation of each edge of a cell, by DARTS on digits."""

    test_tasks: ClassVar[int] = 10

    order: Order = "second"
    """Order of alpha's gradient: 'second' follows how the weights depend on alpha, 'first' does not."""
    train_rows: int = 300
    """Number of rows that the weights learn from."""
    validation_rows: int = 300
    """Number of rows that the mixture learns from."""
    split: int = 0
    """Number of the order in which all rows are dealt."""
    nodes: int = 3
    """Nodes per cell, with an edge between any two."""
    hidden: int = 8
    """Channels of the net."""
    inner_steps: int = 500
    """Steps per training run; if there are more outer steps, the next run begins."""
    inner_lr: float = 0.01
    """Learning rate of the weights, for Adam."""
    batch: int = 50
    """Rows per step, for weights and for the mixture."""
    lr: float = 0.02
    """Learning rate of the mixture, for Adam."""
    weight_decay: float = 1e-3
    """Weight decay of the mixture."""
    steps: int = 500
    meta_batch: int = 1

    def rows(self) -> tuple[Examples, Examples, Examples]:
        """Return the rows to train on, to choose by and to test on."""
        data = digits()
        order = random.permutation(random.key(self.split), len(data.labels))
        cuts = (self.train_rows, self.train_rows + self.validation_rows)
        parts = (order[: cuts[0]], order[cuts[0] : cuts[1]], order[cuts[1] :])
        first, second, third = (Examples(data.inputs[part], data.labels[part], ways=10) for part in parts)
        return first, second, third

    def net(self) -> CellNet:
        """Return the net whose cells are searched."""
        return nets.conv_cells(1, self.hidden, 10, nodes=self.nodes)

    def make_learner(self) -> learners.DARTS:
        """Return the learner."""
        passing = FirstOrder() if self.order == "first" else Unrolled()
        rule = rules.Adam(self.inner_lr)
        return learners.DARTS(self.net(), rule, self.inner_steps, self.batch, differentiation=passing)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        support, query, test = self.rows()
        manual_seed(self.seed)
        return RecipeParts(
            self.make_learner(),
            OneTask(support, query, seed=self.seed),
            None,
            OneTask(support, test, seed=self.seed),
            outer.Truncated(1, lr=self.lr, weight_decay=self.weight_decay),
        )
