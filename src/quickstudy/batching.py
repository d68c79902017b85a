"""The only place that batches over tasks.

The law: `map_tasks(f, tasks) == stack([f(task) for task in tasks])`, forward and gradient. It is tested for every
learner. Tasks in a batch share their shapes; variable ways and shots are padded rows with a mask (`Examples.mask`).
Random numbers come from a key per task, so that they too obey the law.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import vmap

from quickstudy.core import Examples, Learner, Output, State, Streaming
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.operators.layer_errors import raise_naming_branch
from quickstudy.operators.substitution import undisturbed


def count(tasks: Any) -> int:
    """Return the number T of tasks in a batched pytree."""
    leaves = [leaf for leaf in trees.leaves(tasks) if isinstance(leaf, Tensor)]
    if not leaves:
        raise InputError("a batch of tasks needs at least one tensor")
    sizes = {leaf.shape[0] if leaf.ndim else -1 for leaf in leaves}
    if len(sizes) != 1 or -1 in sizes:
        shapes = sorted({tuple(leaf.shape) for leaf in leaves})
        raise InputError(f"every tensor of a batch of tasks needs the same first dimension T; got shapes {shapes}")
    return int(leaves[0].shape[0])


def stack(tasks: list[Any]) -> Any:
    """Stack single tasks (or states) into a batch."""
    return trees.map_leaves(lambda *leaves: torch.stack(leaves), *tasks)


def select(tasks: Any, index: int | slice | Tensor) -> Any:
    """Return one task of a batch, or a smaller batch."""
    return trees.map_leaves(lambda leaf: leaf[index], tasks)


def chunks(tasks: Any, size: int | None) -> Iterator[Any]:
    """Split a batch into batches of at most `size` tasks, as equal as can be."""
    total = count(tasks)
    parts = -(-total // (size or total))
    if parts == 1:
        yield tasks
        return
    bounds = [total * i // parts for i in range(parts + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield select(tasks, slice(start, stop))


def to_dtype(tasks: Any, dtype: torch.dtype) -> Any:
    """Return tasks with all floating numbers in a dtype, say that of a learner's parameters."""
    return trees.map_leaves(lambda leaf: leaf.to(dtype) if leaf.dtype.is_floating_point else leaf, tasks)


def map_tasks(function: Callable[..., Any], *batched: Any, chunk_size: int | None = None) -> Any:
    """Apply a function of one task to each task of a batch.

    Args:
        function: takes one task's arguments (pytrees of tensors), returns a pytree of tensors.
        batched: the same arguments with a leading dimension T.
        chunk_size: at most so many tasks at once, to bound memory; None for all.

    Raises:
        InputError: the arguments disagree about T.
        UnsupportedLayerError: the function reads values of tensors, as in `if x.sum() > 0`.
    """
    count(batched)
    modules = tuple(_modules(function))

    def one(*arguments: Any) -> Any:
        # Within the transform, so that nothing of it is left on modules when it ends.
        with undisturbed(*modules):
            return function(*arguments)

    # 'different': a net's own dropout draws afresh in each task.
    try:
        return vmap(one, randomness="different", chunk_size=chunk_size)(*batched)
    except RuntimeError as error:
        raise_naming_branch(error)
        raise


def _modules(function: Callable[..., Any]) -> Iterator[nn.Module]:
    """Yield modules that a function is of, or is given beforehand."""
    if isinstance(function, functools.partial):
        for part in (function.func, *function.args):
            yield from _modules(part)
    elif isinstance(function, nn.Module):
        yield function
    elif isinstance(function, MethodType) and isinstance(function.__self__, nn.Module):
        yield function.__self__


def adapt(learner: Learner, support: Any, keys: Tensor | None = None, chunk_size: int | None = None) -> State:
    """Return the batched states of T tasks from their batched support."""
    return map_tasks(learner.learn, support, *_given(keys), chunk_size=chunk_size)


def predict(learner: Learner, states: State, inputs: Any, chunk_size: int | None = None) -> Output:
    """Return (T, Q, ...) predictions of T tasks."""
    return map_tasks(learner.predict, states, inputs, chunk_size=chunk_size)


PREFIXES = 10
"""Beginnings of a sequence that are adapted to at once, by learners that cannot answer along the way."""


def stream(learner: Learner, sequences: Any, keys: Tensor | None = None, chunk_size: int | None = None) -> Tensor:
    """Return (T, L, N) predictions along sequences: that for row t uses rows 0..t-1 of its sequence alone.

    Args:
        learner: any learner; one that is `Streaming` answers in one pass, any other adapts to every beginning.
        sequences: batched `Examples` whose L rows are in order.
        keys: (T,), for stochastic learners.
        chunk_size: at most so many tasks at once; None for all.
    """
    along = functools.partial(stream_one, learner)
    outputs: Tensor = map_tasks(along, sequences, *_given(keys), chunk_size=chunk_size)
    return outputs


def stream_one(learner: Learner, sequence: Examples, key: Tensor | None = None) -> Tensor:
    """Return (L, N) predictions along one sequence (see `stream`)."""
    if streams(learner):
        return learner.stream(sequence)  # type: ignore[operator,no-any-return]
    rows = torch.arange(len(sequence), device=sequence.labels.device)

    def answer(row: Tensor) -> Any:
        earlier = (rows < row) & sequence.counted
        support = Examples(sequence.inputs, sequence.labels, earlier, sequence.ways, check=False)
        query = trees.map_leaves(lambda leaf: leaf[row.unsqueeze(0)], sequence.inputs)
        return select(learner.predict(learner.learn(support, key), query), 0)

    answers: Tensor = vmap(answer, randomness="different", chunk_size=PREFIXES)(rows)
    return answers


def streams(learner: Learner) -> bool:
    """Return whether a learner answers a sequence in one pass. Batch statistics differ from beginning to beginning."""
    return isinstance(learner, Streaming) and learner.batch_norm == "none"


def _given(keys: Tensor | None) -> tuple[Tensor, ...]:
    """Return keys as arguments to map over, which None is not."""
    return () if keys is None else (keys,)


Compile = bool | Literal["record"]
"""Whether to compile a whole outer step, or to record and replay it (see `recording`), which needs no compiler."""
