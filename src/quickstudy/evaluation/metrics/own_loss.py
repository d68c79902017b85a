"""The learner's own loss as a metric."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, State
from quickstudy.evaluation.metrics.base import metric
from quickstudy.evaluation.metrics.rows import row_mask


def losses(learner: Learner, states: State, query: Examples) -> Tensor:
    """Return (T,) the loss of a learner on the queries of T tasks."""
    found: Tensor = batching.map_tasks(learner.loss, states, query)
    return found


@metric("loss", label="Loss on the query", lower_is_better=True, partial=True, answers=losses)
def loss(outputs: Tensor, query: Examples) -> Tensor:
    """Return what meta-training minimises, on the query; nan where no query counts."""
    return torch.where(row_mask(query).any(1), outputs.double(), torch.nan)
