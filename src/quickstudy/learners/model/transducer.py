"""A recurrent cell that reads one sequence and then writes another: how memories are tried on algorithms.

Graves et al. 2014, "Neural Turing Machines", section 4:

    adapt:    s_t = cell(x_t, s_{t-1}) over the support's inputs
    predict:  (o_t, s_t) = cell(x_t, s_{t-1}) over the query's inputs, from where the support ended;  answer W o_t

Learned across tasks: the cell and W, that is, the algorithm. Unlike other learners it looks at no label of the support,
and its queries are a sequence too: each answer depends on the query rows before it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Learner
from quickstudy.nets.recurrent import Cell, steps
from quickstudy.operators import trees
from quickstudy.registry import register


@register("learner", family="model", learns="an algorithm", paper="Graves et al. 2014", tasks="sequences")
class Transducer(Learner):
    """Reads the support's inputs, then answers the query's rows one after the other.

    Args:
        cell: a cell of `nets`, such as NTMCell, DNCCell or LSTMCell.
        outputs: numbers of an answer; with `ways`, labels of an answer.
        ways: values that each label of an answer may take; None for regression.
    """

    def __init__(self, cell: nn.Module, outputs: int, ways: int | None = None) -> None:
        super().__init__()
        self.cell, self.outputs, self.ways = cell, outputs, ways
        self.head = nn.Linear(cast(Cell, cell).outputs, outputs * (ways or 1))

    @property
    def permutation_invariant(self) -> bool:
        """Rows are read in order."""
        return False

    @property
    def independent_queries(self) -> bool:
        """Queries are a sequence."""
        return False

    def adapt(self, support: Examples) -> Any:
        """Return the cell's state after the support's inputs, padding left out."""
        state = cast(Cell, self.cell).start(1)
        for t, step in enumerate(steps(self.cell, support.inputs.unsqueeze(1))):
            _, after = step(state)
            if support.mask is None:
                state = after
            else:
                keep = support.mask[t]
                state = trees.map_leaves(lambda new, old, keep=keep: torch.where(keep, new, old), after, state)
        return state

    def predict(self, state: Any, inputs: Any) -> Tensor:
        """Return (Q, outputs), or logits (Q, ways, outputs)."""
        outputs = []
        for step in steps(self.cell, inputs.unsqueeze(1)):
            output, state = step(state)
            outputs.append(output)
        answers: Tensor = self.head(torch.cat(outputs))
        return answers if self.ways is None else answers.unflatten(1, (self.ways, self.outputs))  # type: ignore[no-untyped-call]
