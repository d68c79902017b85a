"""Embedding each row of a bank of tasks once, where a row's features depend on that row alone.

The tasks of a bank share their rows: of the 80,000 rows of 1,000 5-way 1-shot tasks with 15 queries, most come many
times, and to embed them is nearly all the work of a metric learner.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Embeds, Learner
from quickstudy.tasks.base import Bank
from quickstudy.tasks.rows import RowTasks


def embedded_once(learner: Learner, bank: Bank, indices: Tensor) -> tuple[Learner, Bank]:
    """Return the learner and the bank on features in place of rows, or both as they are where that is not the same.

    Args:
        learner: any learner, in evaluation mode.
        bank: tasks.
        indices: which of them are wanted; the others are not to be drawn from what is returned.
    """
    source = bank.source
    if not isinstance(learner, Embeds) or not isinstance(source, RowTasks) or bank.sequential:
        return learner, bank
    if learner.batch_norm not in ("none", "frozen"):
        return learner, bank
    dtype = next((p.dtype for p in learner.parameters() if p.dtype.is_floating_point), None)

    def embed(rows: Any) -> Tensor:
        return learner.embed(rows if dtype is None else batching.to_dtype(rows, dtype), ())

    found = source.embedded(bank.plan(indices), embed)
    if found is None:
        return learner, bank
    tasks, plan = found
    # The bank keeps its numbering: what comes before the wanted tasks is a repetition of the first of them.
    first = int(indices[0])
    whole = {name: torch.cat([value[:1].expand(first, *value.shape[1:]), value]) for name, value in plan.items()}
    return learner.on_features(), Bank(tasks, whole, bank.seed)
