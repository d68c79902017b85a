"""Differentiable neural computer as a learner of tasks.

Graves et al. 2016, "Hybrid computing using a neural network with dynamic external memory":

    (o_t, M_t) = cell((f(x_t), y_{t-1}), M_{t-1}),   p(y_t | x_1..t, y_1..t-1) = softmax(W o_t)

The cell (`nets.DNCCell`) writes to free slots or to slots like its key, and reads by content or along the order of
writing. Learned across tasks: the embedding f, the cell and W; a task is learned in the memory M. Departures: the
paper's tasks are question answering and graphs; here it reads (x, y) pairs, the label one step late, as MANN does.
"""

from __future__ import annotations

from torch import nn

from quickstudy.learners.bases.reading import ReadingLearner
from quickstudy.nets.dnc import DNCCell
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register


@register("learner", family="model", learns="what to store in a memory", paper="Graves et al. 2016", tasks="both")
class DNC(ReadingLearner):
    """Reads (x, y) pairs into a memory with allocation and temporal links, the label one step late.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or numbers of a regression target.
        features: size D of the embedding; None reads it from `net.features`.
        hidden: width of the controller.
        slots: memory slots.
        width: numbers of a slot.
        read_heads: heads that read.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        hidden: int = 200,
        slots: int = 64,
        width: int = 40,
        read_heads: int = 4,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        self.attach(DNCCell(self.reads, hidden, slots, width, read_heads, late_labels=True))
