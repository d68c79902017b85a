"""Memory-augmented neural network.

Santoro et al. 2016, "One-shot Learning with Memory-Augmented Neural Networks", section 3:

    (o_t, M_t) = cell((f(x_t), y_{t-1}), M_{t-1}),   p(y_t | x_1..t, y_1..t-1) = softmax(W o_t)

The cell (`nets.MANNCell`) is a Neural Turing machine that writes to its least recently used slots. Learned across
tasks: the embedding f, the cell and W; a task is learned in the memory M. f is None for raw pixels, as in the paper.
Departures: those of the cell, and a class that was not shown yet gets no probability, as in every learner here.
"""

from __future__ import annotations

from torch import nn

from quickstudy.learners.bases.reading import ReadingLearner
from quickstudy.nets.mann import MANNCell
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register


@register("learner", family="model", learns="what to store in a memory", paper="Santoro et al. 2016", tasks="both")
class MANN(ReadingLearner):
    """Reads (x, y) pairs into an external memory, the label one step late.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or numbers of a regression target.
        features: size D of the embedding; None reads it from `net.features`.
        hidden: width of the controller.
        slots: memory slots.
        width: numbers of a slot.
        heads: heads, each of which reads and writes.
        decay: how much of a slot's usage stays from step to step.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        hidden: int = 200,
        slots: int = 128,
        width: int = 40,
        heads: int = 4,
        decay: float = 0.95,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        self.attach(MANNCell(self.reads, hidden, slots, width, heads, decay))
