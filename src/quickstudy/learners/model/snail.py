"""SNAIL: temporal convolutions and causal attention over the support and one query.

Mishra et al. 2018, "A Simple Neural Attentive Meta-Learner", section 3.1:

    sequence = (f(x_1), y_1), ..., (f(x_S), y_S), (f(x), 0)
    p(y | x, support) = softmax(W blocks(sequence)[last])

Every row sees itself and the rows before it, by dilated convolutions (`nets.snail.DenseBlock`) and by attention.
Learned across tasks: the embedding f, the blocks and W. Each query is the last element of a sequence of its own; what
the support gives in every block is computed once and is the state. `stream` asks about each row of a sequence before
its label is read, in one pass. Departures: dilations start at 1; a label that is not known is zeros; the
maps to queries and to keys begin equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.learners.bases.labelled import LabelledLearner, Rows
from quickstudy.nets.snail import snail_blocks
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Past(NamedTuple):
    """The state of one task."""

    inputs: tuple[Tensor, ...]
    """(S, C) inputs of each block, with padding first, as zeros."""
    real: Tensor
    """(S,) False in padding rows."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="model", learns="a learning algorithm", paper="Mishra et al. 2018", tasks="both")
class SNAIL(LabelledLearner):
    """Convolutions over time and causal attention; the order of the support matters.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        filters: of the temporal convolutions; attention sizes are in proportion (paper: 128).
        length: rows that the convolutions together look over; say ways x shots + 1.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: filters or length is not positive.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        filters: int = 64,
        length: int = 26,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if filters < 1 or length < 1:
            raise InputError(f"{filters=} and {length=} must be positive")
        self.blocks, channels = snail_blocks(self.size + outputs, filters, length)
        self.head = nn.Linear(channels, outputs)

    @property
    def permutation_invariant(self) -> bool:
        """Rows are read in order."""
        return False

    def adapt(self, support: Examples) -> Past:
        """Pass over the support; keep the inputs of every block."""
        return self._pass(self.read(support))

    def predict(self, state: Past, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression: each query follows the whole support."""
        features = self.embed(inputs, state.statistics)
        end = torch.full_like(features[:, 0], len(state.real), dtype=torch.int64)
        return self.answer(self._ask(features, state, end), state.present)

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions, that for row t from the rows before it (see `batching.stream`)."""
        rows = self.read(sequence)
        counted = rows.real.to(torch.int64)
        # Padding stands first: row t follows all of it and the real rows before t.
        position = (1 - counted).sum() + counted.cumsum(0) - counted
        return self.answer(self._ask(rows.features, self._pass(rows), position), self.seen_before(sequence))

    def _pass(self, rows: Rows) -> Past:
        # Padding goes to the beginning, where it is as if there were nothing.
        order = rows.real.to(torch.int64).argsort(stable=True)
        real = rows.real[order]
        position = torch.arange(len(real), device=real.device)
        x = self._blank(torch.cat([rows.features, rows.labels], 1)[order], real)
        inputs = []
        for block in self.blocks:
            inputs.append(x)
            x = self._blank(block(x, x, position, real), real)
        return Past(tuple(inputs), real, rows.present, rows.statistics)

    def _ask(self, features: Tensor, state: Past, position: Tensor) -> Tensor:
        rows = torch.cat([features, features.new_zeros(len(features), self.outputs)], 1)
        for block, past in zip(self.blocks, state.inputs, strict=True):
            rows = block(rows, past, position, state.real)
        return self.head(rows)  # type: ignore[no-any-return]

    @staticmethod
    def _blank(rows: Tensor, real: Tensor) -> Tensor:
        return torch.where(real.unsqueeze(1), rows, torch.zeros_like(rows))
