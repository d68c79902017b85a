"""Recipes of algorithms learned by memories (Graves et al. 2014, sections 4.1 and 4.3): copying, associative recall.

The test tasks are longer than any in training: copies twice as long, lists of twice as many items.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import manual_seed, nn

from quickstudy import learners, nets, outer
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.algorithmic import AssociativeRecall, Copy


@dataclass
class AlgorithmRecipe(Recipe):
    """A cell that reads a sequence and writes another."""

    controller: int = 100
    """Width of the controller."""
    slots: int = 128
    """Number of memory slots."""
    width: int = 20
    """Numbers per memory slot."""
    lr: float = 1e-3
    """Outer learning rate, for Adam."""
    clip: float = 1.0
    """Largest norm of the meta-gradient; late in training, sharp heads make it jump."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 3000
    meta_batch: int = 16
    validate_every: int = 1_000_000
    """Outer steps between validations. The default validates only at the end: among weights that make no mistake at
    trained lengths, the last hold up longest."""

    def cell(self, inputs: int) -> nn.Module:
        """Return the cell."""
        return nets.NTMCell(inputs, self.controller, self.slots, self.width)

    def tasks(self, seed: int, longer: bool = False) -> Copy | AssociativeRecall:
        """Return the tasks, or those of the test."""
        raise NotImplementedError

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        train = self.tasks(self.seed)
        inputs = train.batch(0, 1).support.inputs.shape[-1]
        return RecipeParts(
            learner=learners.Transducer(self.cell(inputs), train.bits, ways=2),
            train=train,
            validation=self.tasks(1),
            test=self.tasks(2, longer=True),
            outer=outer.Gradient(lr=self.lr, clip=self.clip or None, schedule=self.schedule),
            options={"chunk": self.meta_batch},
        )


@recipe("copy-ntm", learner="Transducer", paper="Graves et al. 2014")
@dataclass
class CopyNTM(AlgorithmRecipe):
    """Neural Turing machine that learns to copy, tested at twice the trained length."""

    length: int = 20
    """Length of the longest sequence in training."""
    bits: int = 8
    """Bits per row."""

    def tasks(self, seed: int, longer: bool = False) -> Copy:
        """Return copies."""
        return Copy(2 * self.length if longer else (1, self.length), self.bits, seed)


@recipe("copy-dnc", learner="Transducer", paper="Graves et al. 2016")
@dataclass
class CopyDNC(CopyNTM):
    """Differentiable neural computer that learns to copy, tested at twice the trained length."""

    steps: int = 2000
    slots: int = 96
    """Number of memory slots: as many as rows are read and answered at the test, because it may write while it
    answers."""

    def cell(self, inputs: int) -> nn.Module:
        """Return the cell."""
        return nets.DNCCell(inputs, self.controller, self.slots, self.width, read_heads=1)


@recipe("recall-ntm", learner="Transducer", paper="Graves et al. 2014")
@dataclass
class RecallNTM(AlgorithmRecipe):
    """Neural Turing machine that learns associative recall, tested with twice as many items."""

    items: int = 4
    """Largest number of items in a list in training (6 in the paper, which takes many more steps)."""
    rows: int = 3
    """Rows per item."""
    bits: int = 6
    """Bits per row."""
    slots: int = 32

    def tasks(self, seed: int, longer: bool = False) -> AssociativeRecall:
        """Return lists."""
        return AssociativeRecall(2 * self.items if longer else (2, self.items), self.rows, self.bits, seed)


@recipe("recall-dnc", learner="Transducer", paper="Graves et al. 2016")
@dataclass
class RecallDNC(RecallNTM):
    """Differentiable neural computer that learns associative recall, tested with twice as many items."""

    steps: int = 4000
    slots: int = 64
    """Number of memory slots: as many as rows are read and answered at the test."""

    def cell(self, inputs: int) -> nn.Module:
        """Return the cell."""
        return nets.DNCCell(inputs, self.controller, self.slots, self.width, read_heads=1, sharp=True)
