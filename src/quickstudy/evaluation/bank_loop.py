"""The one loop over a bank of tasks: its devices, dtypes, modes, keys and chunks, for everything that judges learners.

`batches` yields the tasks chunk by chunk, ready to be learned; `predictions` also learns and answers them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Output, State, Task
from quickstudy.engine import sizes
from quickstudy.engine.hardware import kept_pages
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import InputError
from quickstudy.evaluation.embedded_once import embedded_once
from quickstudy.evaluation.finite import no_answer, refuse
from quickstudy.functional import random
from quickstudy.functional.checks import as_device
from quickstudy.functional.numbers import whole
from quickstudy.operators.modes import evaluating
from quickstudy.tasks.base import Bank, TaskDistribution

BANK_SEED = 2024


class Batch(NamedTuple):
    """Tasks of a bank, on the learner's device and in its dtype."""

    indices: Tensor
    """(T,) numbers of the tasks in the bank."""
    tasks: Task
    """T tasks, batched; sequences are in the query."""
    keys: Tensor
    """(T,) keys for the draws of a stochastic learner."""
    learner: Learner
    """The learner for these tasks: the one given, or its like on features (see `batches`)."""
    chunk: int
    """Number of tasks that are computed at once."""
    total: int
    """Number of tasks that this process is given in all."""


class Predicted(NamedTuple):
    """Tasks of a bank with what a learner made of them."""

    indices: Tensor
    """(T,) numbers of the tasks in the bank."""
    states: State
    """T states, batched."""
    outputs: Output
    """(T, Q, ...) predictions for the queries."""
    tasks: Task
    """T tasks, batched."""


def as_bank(distribution: TaskDistribution, tasks: int, seed: int = BANK_SEED) -> tuple[Bank, int]:
    """Return a bank of the first tasks of a distribution, or the given bank itself, and how many of its tasks to use.

    Raises:
        InputError: no task is asked for, or it is no distribution.
    """
    if not isinstance(distribution, TaskDistribution):
        raise InputError(f"tasks are drawn from a distribution, such as tasks.FewShot(data), not {distribution!r}")
    tasks = whole("tasks", tasks)
    bank = distribution if isinstance(distribution, Bank) else distribution.bank(tasks, seed)
    return bank, min(tasks, len(bank))


def batches(
    learner: Learner,
    bank: Bank,
    tasks: int,
    *,
    chunk: int | None = None,
    device: torch.device | str | None = None,
    ranks: Ranks = ALONE,
    on_features: bool = False,
) -> Generator[Batch, None, None]:
    """Yield the first tasks of a bank in chunks; while it does, the learner is in evaluation mode.

    Args:
        learner: any learner; every module gets back the mode that it had.
        bank: tasks, whose seed also decides what stochastic learners draw.
        tasks: how many of them, at most as many as there are.
        chunk: tasks at once; None chooses.
        device: where to compute; None is where the learner is.
        ranks: processes that share the chunks out.
        on_features: whether rows may be embedded once for all tasks where a row's features depend on it alone; the
            tasks then hold features, and the learner that comes with them reads those.
    """
    chunk = None if chunk is None else whole("chunk", chunk)
    where = as_device(device) if device is not None else device_of(learner)
    learner.to(where)
    bank.to(where)
    dtype = dtype_of(learner)
    size = min(chunk or sizes.drawing(bank), math.ceil(tasks / ranks.size))
    starts = range(0, tasks, size)
    # Whole chunks, in order: those of all processes end to end are those of one.
    own = starts[ranks.rank * len(starts) // ranks.size : (ranks.rank + 1) * len(starts) // ranks.size]
    stop = min(own.stop, tasks)
    with kept_pages(where), evaluating(learner):
        solver, drawn = learner, bank
        if on_features and len(own):
            with torch.no_grad():
                solver, drawn = embedded_once(learner, bank, torch.arange(own.start, stop))
        if drawn is not bank:
            # Features are smaller than rows, so that other numbers of tasks fit; never beyond the last task.
            size = chunk or sizes.drawing(drawn)
            own = range(own.start, stop, size)
        for indices in task_batches(own, stop, drawn):
            with torch.no_grad():
                batch = drawn.draw(indices) if dtype is None else batching.to_dtype(drawn.draw(indices), dtype)
            yield Batch(indices, batch, task_keys(indices, bank.seed, where), solver, size, stop - own.start)


def predictions(
    learner: Learner, bank: TaskDistribution, count: int, seed: int = BANK_SEED, **options: Any
) -> Generator[Predicted, None, None]:
    """Yield the first tasks of a bank in chunks, with the states and the predictions that `evaluate` judges.

    Args:
        learner: any learner.
        bank: a bank, or a distribution whose first tasks under `seed` are one.
        count: how many tasks, at most as many as the bank has.
        seed: seed of the bank that is made of a distribution; a `Bank` keeps its own.
        options: further arguments of `batches`.

    Raises:
        InputError: no task is asked for, or tasks are sequences, which have no query.
        NonFiniteError: a prediction is NaN or infinite.
    """
    if bank.sequential:
        raise InputError("sequences have no query, so no intervals or sets; evaluate them for accuracy")
    with closing(batches(learner, *as_bank(bank, count, seed), **options)) as found:
        for batch in found:
            # Recording is on again while the caller has its turn: its gradients are its own business.
            with torch.no_grad():
                states = batching.adapt(batch.learner, batch.tasks.support, batch.keys)
                outputs = batching.predict(batch.learner, states, batch.tasks.query.inputs)
                refuse(no_answer(outputs, batch.tasks.query), learner, batch.indices)
            yield Predicted(batch.indices, states, outputs, batch.tasks)


def task_batches(chunks: range, stop: int, bank: TaskDistribution) -> Iterator[Tensor]:
    """Yield the numbers of the tasks of each chunk, or of the parts of it that can be batched."""
    for start in chunks:
        yield from bank.runs(torch.arange(start, min(start + chunks.step, stop)))


def device_of(learner: Learner) -> torch.device:
    """Return where a learner's parameters are."""
    tensor = next(learner.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def dtype_of(learner: Learner) -> torch.dtype | None:
    """Return the dtype of a learner's parameters, or None where it has none."""
    return next((p.dtype for p in learner.parameters() if p.dtype.is_floating_point), None)


def task_keys(indices: Tensor, seed: int, device: torch.device) -> Tensor:
    """Return the keys (T,) that tasks of these numbers of a bank bring to stochastic learners."""
    return random.learner_keys(seed, indices.to(device))
