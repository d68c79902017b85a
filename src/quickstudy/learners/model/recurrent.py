"""Recurrent learner: an LSTM or a GRU that learns a task in its hidden state.

Hochreiter, Younger & Conwell 2001, "Learning to Learn Using Gradient Descent":

    h_t = cell((f(x_t), y_{t-1}), h_{t-1}),   prediction for x_t = W h_t

Learned across tasks: the embedding f, the cell and W; the weights stand still while a task is learned. It is also the
baseline that Santoro et al. 2016 compare their memory with. Departures: trained by Adam on whole sequences; the paper
has no f; a class that was not shown yet gets no probability, as in every learner here.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from quickstudy.errors import unknown_name
from quickstudy.learners.bases.reading import ReadingLearner
from quickstudy.nets.recurrent import GRUCell, LSTMCell
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register

CELLS = {"lstm": LSTMCell, "gru": GRUCell}


@register("learner", family="model", learns="a recurrent net", paper="Hochreiter et al. 2001", tasks="both")
class RecurrentLearner(ReadingLearner):
    """Reads (x, y) pairs into a hidden state, the label one step late.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or numbers of a regression target.
        features: size D of the embedding; None reads it from `net.features`.
        cell: 'lstm' or 'gru'.
        hidden: size of the hidden state.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        cell: Literal["lstm", "gru"] = "lstm",
        hidden: int = 200,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if cell not in CELLS:
            raise unknown_name("cell", cell, CELLS)
        self.attach(CELLS[cell](self.reads, hidden))
