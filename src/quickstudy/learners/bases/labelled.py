"""The base of learners that read embedded rows with their labels: sizes, label features, absent classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import label_features, mask_absent, one_hot
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.operators.calls import BatchNormPolicy, Statistics


class Rows(NamedTuple):
    """A support as such learners read it."""

    features: Tensor
    """(S, D) features of the support rows."""
    labels: Tensor
    """(S, outputs) one-hot classes or targets, zero in padding rows."""
    real: Tensor
    """(S,) False in padding rows."""
    present: Tensor
    """(N,) classes that have a support row; in regression (outputs,), all True."""
    statistics: Statistics


class LabelledLearner(EmbeddingLearner):
    """Base of learners of (embedding, label) rows.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size D of the embedding; None reads it from `net.features`.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: the size of the embedding is not known, or outputs is not positive.
    """

    def __init__(self, net: nn.Module | None, outputs: int, features: int | None, batch_norm: BatchNormPolicy) -> None:
        super().__init__(nn.Flatten() if net is None else net, batch_norm)
        size = features if features is not None else getattr(net, "features", None)
        if not isinstance(size, int) or size < 1 or outputs < 1:
            raise InputError(
                f"{outputs=} must be positive, and the size of the embedding known: pass features=..., numbers a row"
            )
        self.size, self.outputs = size, outputs

    def read(self, support: Examples, width: int | None = None) -> Rows:
        """Embed a support and its labels, these as (S, width) numbers; None is `outputs`."""
        features, statistics = self.embed_support(support)
        if features.shape[1] != self.size:
            raise InputError(f"the net gives {features.shape[1]} features, not {self.size}; pass features=...")
        labels = label_features(support, width or self.outputs, features.dtype)
        return Rows(features, labels, support.counted, self.seen(support).any(0), statistics)

    def seen(self, support: Examples) -> Tensor:
        """Return (S, N) whether each row shows each class; (S, outputs) all True for regression."""
        if support.ways is None:
            rows = len(support.labels)
            return torch.ones(rows, self.outputs, dtype=torch.bool, device=support.labels.device)
        return one_hot(support, torch.float32) > 0

    def seen_before(self, sequence: Examples) -> Tensor:
        """Return (L, N) whether each class was shown before each row; (L, outputs) all True for regression."""
        seen = self.seen(sequence)
        if sequence.ways is None:
            return seen
        shown = seen.to(torch.int64)
        return shown.cumsum(0) > shown

    def answer(self, outputs: Tensor, present: Tensor) -> Tensor:
        """Return logits (Q, N) of outputs (Q, outputs), without the classes that are not present (N,) or (Q, N)."""
        logits = outputs[:, : present.shape[-1]]
        if present.ndim == 1:
            return mask_absent(logits, present)
        return torch.where(present, logits, mask_absent(logits, torch.zeros_like(present[0])))
