"""The base of learners that read their support row by row: the label one step late, a scan, and a head.

At step t the cell reads (f(x_t), y_{t-1}) and answers for x_t (Santoro et al. 2016, section 2; Hochreiter et al.
2001): so a row's label can only be used by storing what it belongs to. `adapt` reads the support; `predict` makes one
more step for each query, from the same state, with the last label; `stream` gives the answers along the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import hidden, label_features, mask_absent
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.nets.recurrent import steps
from quickstudy.operators import trees
from quickstudy.operators.calls import BatchNormPolicy, Statistics


class Read(NamedTuple):
    """The state of one task: the last state of the cell."""

    cell: Any
    """The cell's state, of one row."""
    label: Tensor
    """(N,) the last label, not yet read."""
    present: Tensor
    """(N,) classes that have a support row; all True for regression."""
    statistics: Statistics


class ReadingLearner(EmbeddingLearner):
    """Base of learners that read (x, y) pairs with a recurrent cell.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or numbers of a regression target.
        features: size D of the embedding; None reads it from `net.features`.
        batch_norm: 'support' or 'transductive'.
    """

    cell: nn.Module

    def __init__(
        self, net: nn.Module | None, outputs: int, features: int | None = None, batch_norm: BatchNormPolicy = "support"
    ) -> None:
        super().__init__(nn.Flatten() if net is None else net, batch_norm)
        size = features if features is not None else getattr(net, "features", None)
        if not isinstance(size, int):
            raise InputError("the cell needs the size of what it reads: pass features=..., numbers of an embedded row")
        self.outputs = outputs
        self.reads = size + outputs

    def attach(self, cell: Any) -> None:
        """Keep the cell, and make a head for what it gives."""
        self.cell = cell
        self.head = nn.Linear(cell.outputs, self.outputs)

    @property
    def permutation_invariant(self) -> bool:
        """Rows are read in order."""
        return False

    def adapt(self, support: Examples) -> Read:
        """Read the support's rows in order."""
        labels, seen = self._labels(support)
        features, statistics = self.embed_support(support)
        state, label, _ = self._scan(features, labels, support.mask)
        return Read(state, label, seen[-1], statistics)

    def predict(self, state: Read, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression: each query is one more step from the same state."""
        features = self.embed(inputs, state.statistics)
        rows = len(features)
        label = state.label.expand(rows, -1)
        start = trees.map_leaves(lambda leaf: leaf.expand(rows, *leaf.shape[1:]), state.cell)
        outputs, _ = self.cell(torch.cat([features, label], -1), start)
        return mask_absent(self.head(outputs)[:, : len(state.present)], state.present)

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions, that for row t from the rows before it (see `batching.stream`)."""
        labels, seen = self._labels(sequence)
        features, _ = self.embed_support(sequence)
        _, _, outputs = self._scan(features, labels, sequence.mask)
        answers = self.head(torch.cat(outputs))[:, : seen.shape[1]]
        return hidden(answers, seen[:-1])

    def _labels(self, rows: Examples) -> tuple[Tensor, Tensor]:
        """Return what the cell reads of labels (S, outputs), and (S + 1, N) which classes were seen before each row."""
        labels = label_features(rows, self.outputs, self.head.weight.dtype)
        if rows.ways is None:
            return labels, torch.ones(len(rows) + 1, self.outputs, dtype=torch.bool, device=labels.device)
        seen = labels[:, : rows.ways].cumsum(0) > 0
        return labels, F.pad(seen, (0, 0, 1, 0))

    def _scan(self, features: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Any, Tensor, list[Tensor]]:
        """Return the last state, the last label (outputs,) and the cell's outputs, each (1, O), at every row."""
        label, late = torch.zeros_like(labels[0]), []
        for t in range(len(labels)):
            late.append(label)
            label = labels[t] if mask is None else torch.where(mask[t], labels[t], label)
        state, outputs = self.cell.start(1), []  # type: ignore[operator]
        for t, step in enumerate(steps(self.cell, torch.cat([features, torch.stack(late)], -1).unsqueeze(1))):
            output, after = step(state)
            outputs.append(output)
            if mask is None:
                state = after
            else:
                # A padding row leaves no trace.
                keep = mask[t]
                state = trees.map_leaves(lambda new, old, keep=keep: torch.where(keep, new, old), after, state)
        return state, label, outputs
