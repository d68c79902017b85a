"""The only place that batches over tasks.

The law: `map_tasks(f, tasks) == stack([f(task) for task in tasks])`, forward and gradient. It is tested for every
learner. Tasks in a batch share their shapes; variable ways and shots are padded rows with a mask (`Examples.mask`).
Random numbers come from a key per task, so that they too obey the law.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.func import vmap

from quickstudy.core import Examples, Learner, Output, State, Streaming, Task
from quickstudy.errors import InputError
from quickstudy.recording import RecordedGradient

log = logging.getLogger(__name__)


def count(tasks: Any) -> int:
    """Return the number T of tasks in a batched pytree."""
    leaves = [leaf for leaf in pytree.tree_leaves(tasks) if isinstance(leaf, Tensor)]
    if not leaves:
        raise InputError("a batch of tasks needs at least one tensor")
    sizes = {leaf.shape[0] if leaf.ndim else -1 for leaf in leaves}
    if len(sizes) != 1 or -1 in sizes:
        shapes = sorted({tuple(leaf.shape) for leaf in leaves})
        raise InputError(f"every tensor of a batch of tasks needs the same first dimension T; got shapes {shapes}")
    return int(leaves[0].shape[0])


def stack(tasks: list[Any]) -> Any:
    """Stack single tasks (or states) into a batch."""
    return pytree.tree_map(lambda *leaves: torch.stack(leaves), *tasks)


def select(tasks: Any, index: int | slice | Tensor) -> Any:
    """Return one task of a batch, or a smaller batch."""
    return pytree.tree_map(lambda leaf: leaf[index], tasks)


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
    return pytree.tree_map(lambda leaf: leaf.to(dtype) if leaf.dtype.is_floating_point else leaf, tasks)


def map_tasks(function: Callable[..., Any], *batched: Any, chunk_size: int | None = None) -> Any:
    """Apply a function of one task to each task of a batch.

    Args:
        function: takes one task's arguments (pytrees of tensors), returns a pytree of tensors.
        batched: the same arguments with a leading dimension T.
        chunk_size: at most so many tasks at once, to bound memory; None for all.

    Raises:
        InputError: the arguments disagree about T.
    """
    count(batched)
    # 'different': a net's own dropout draws afresh in each task.
    return vmap(function, randomness="different", chunk_size=chunk_size)(*batched)


def adapt(learner: Learner, support: Any, keys: Tensor | None = None, chunk_size: int | None = None) -> State:
    """Return the batched states of T tasks from their batched support."""
    if learner.stochastic:
        return map_tasks(learner.adapt, support, _keys(keys), chunk_size=chunk_size)
    return map_tasks(learner.adapt, support, chunk_size=chunk_size)


def predict(learner: Learner, states: State, inputs: Any, chunk_size: int | None = None) -> Output:
    """Return (T, Q, ...) predictions of T tasks."""
    return map_tasks(learner.predict, states, inputs, chunk_size=chunk_size)


def adapt_one(learner: Learner, support: Any, key: Tensor | None) -> State:
    """Adapt to one task, passing the key to learners that take one."""
    return learner.adapt(support, _keys(key)) if learner.stochastic else learner.adapt(support)  # type: ignore[call-arg]


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
    arguments = (sequences, _keys(keys)) if learner.stochastic else (sequences,)
    outputs: Tensor = map_tasks(functools.partial(stream_one, learner), *arguments, chunk_size=chunk_size)
    return outputs


def stream_one(learner: Learner, sequence: Examples, key: Tensor | None = None) -> Tensor:
    """Return (L, N) predictions along one sequence (see `stream`)."""
    if streams(learner):
        return learner.stream(sequence)  # type: ignore[operator,no-any-return]
    rows = torch.arange(len(sequence), device=sequence.labels.device)

    def answer(row: Tensor) -> Any:
        mask = rows < row if sequence.mask is None else (rows < row) & sequence.mask
        support = Examples(sequence.inputs, sequence.labels, mask, sequence.ways, check=False)
        query = pytree.tree_map(lambda leaf: leaf[row.unsqueeze(0)], sequence.inputs)
        return select(learner.predict(adapt_one(learner, support, key), query), 0)

    answers: Tensor = vmap(answer, randomness="different", chunk_size=PREFIXES)(rows)
    return answers


def streams(learner: Learner) -> bool:
    """Return whether a learner answers a sequence in one pass. Batch statistics differ from beginning to beginning."""
    return isinstance(learner, Streaming) and learner.batch_norm == "none"


def _keys(keys: Tensor | None) -> Tensor:
    if keys is None:
        raise InputError("this learner is stochastic: pass keys, one a task (quickstudy.functional.random.fold_in)")
    return keys


Objective = Callable[[Learner, Task, Tensor], Tensor]
"""(learner, task, key) -> scalar loss of one task."""
Compile = bool | Literal["record"]
"""Whether to compile a whole outer step, or to record and replay it (see `recording`), which needs no compiler."""


class TaskLosses:
    """Losses of a batch of tasks and their gradient, in chunks, recorded or compiled as a whole where that works.

    Args:
        objective: loss of one task. Where it has an attribute `after(learner, state, task, key)`, its value given what
            `adapt` returned, all tasks of a chunk adapt together, and then few at a time are judged on their queries,
            which are many more rows: gradients are handed over at the states, and no more is kept than those few need.
        chunk_size: tasks at once; None chooses (see `size`).
        compile: record losses and gradient as a whole (see `recording`), and compile them if True; where that fails,
            say so once and go on without (never partly compiled, which is slow without a word).
    """

    def __init__(self, objective: Objective, chunk_size: int | None = None, compile: Compile = False) -> None:
        self.objective = objective
        self.chunk_size = chunk_size
        self._after: Callable[..., Tensor] | None = getattr(objective, "after", None)
        self._recorded = RecordedGradient(self._backward_plain, compile is True) if compile else None

    def __call__(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        """Return (T,) losses of one chunk of tasks."""
        losses: Tensor = vmap(lambda task, key: self.objective(learner, task, key), randomness="different")(tasks, keys)
        return losses

    def backward(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        """Add the gradient of the mean loss to the parameters' `.grad`, chunk by chunk; return the (T,) losses.

        Where a GPU has too little memory for a chunk, chunks are halved from then on.
        """
        if keys.device.type in ROOMY:
            return self._backward(learner, tasks, keys)
        kept = [p.grad for p in learner.parameters()]
        while True:
            try:
                return self._backward(learner, tasks, keys)
            except torch.OutOfMemoryError:
                size = self.size(learner, tasks, len(keys))
                if size == 1 or any(grad is not None for grad in kept):
                    raise
                self.chunk_size = -(-min(size, len(keys)) // 2)
                log.warning("not enough memory for %d tasks at once, going on with %d", size, self.chunk_size)
                for parameter in learner.parameters():
                    parameter.grad = None

    def size(self, learner: Learner, tasks: Task, total: int) -> int:
        """Return how many of all tasks adapt at once: as asked, or on a CPU as fit its cache and on a GPU all."""
        return self.chunk_size or _fitting(learner, tasks.support.inputs, ADAPTING_NUMBERS, total)

    def _backward(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        total = len(keys)
        size = self.size(learner, tasks, total)
        if size >= total:
            return self._backward_chunk(learner, tasks, keys, total)
        parts = zip(chunks(tasks, size), chunks(keys, size), strict=True)
        return torch.cat([self._backward_chunk(learner, part, part_keys, total) for part, part_keys in parts])

    def _backward_chunk(self, learner: Learner, tasks: Task, keys: Tensor, total: int) -> Tensor:
        if self._recorded is not None:
            try:
                return self._recorded(learner, tasks, keys, total)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # recording runs all of the learner, and may fail in as many ways
                log.warning("cannot record this learner's step as a whole, going on without: %s", _first_line(error))
                self._recorded = None
        return self._backward_plain(learner, tasks, keys, total)

    def _backward_plain(self, learner: Learner, tasks: Task, keys: Tensor, total: int) -> Tensor:
        few = _fitting(learner, tasks.query.inputs, JUDGED_NUMBERS, len(keys))
        if self._after is not None and few < len(keys):
            return self._backward_in_two(learner, tasks, keys, few, total)
        loss = self(learner, tasks, keys)
        if loss.requires_grad:
            (loss.sum() / total).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _backward_in_two(self, learner: Learner, tasks: Task, keys: Tensor, few: int, total: int) -> Tensor:
        assert self._after is not None
        states, spec = pytree.tree_flatten(adapt(learner, tasks.support, keys if learner.stochastic else None))
        taught = [i for i, leaf in enumerate(states) if isinstance(leaf, Tensor) and leaf.requires_grad]
        losses, cotangents = [], []
        cut = [leaf.detach() if i in taught else leaf for i, leaf in enumerate(states)]
        for leaves, part, part_keys in zip(chunks(cut, few), chunks(tasks, few), chunks(keys, few), strict=True):
            asked = [leaves[i].requires_grad_() for i in taught]
            state = pytree.tree_unflatten(leaves, spec)
            after = functools.partial(self._after, learner)
            loss = map_tasks(after, state, part, part_keys)
            if loss.requires_grad:
                (loss.sum() / total).backward()
            losses.append(loss.detach())
            cotangents.append([torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in asked])
        if taught:
            joined = [torch.cat(each) for each in zip(*cotangents, strict=True)]
            torch.autograd.backward([states[i] for i in taught], joined)
        return torch.cat(losses)


ROOMY = ("cpu",)
"""Devices that do not tell of a lack of memory by an error that one could go on after."""
ADAPTING_NUMBERS, JUDGED_NUMBERS = 520_000, 4_000_000
"""Numbers in the largest maps of the supports that are adapted to, and of the queries that are judged, at once on a
CPU: more is hardly faster, and takes memory (for supports more, as there are second derivatives through them)."""
_WIDENINGS: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


def _fitting(learner: Learner, inputs: Any, numbers: int, total: int) -> int:
    """Return how many tasks have so many numbers in a learner's largest maps on a CPU, of the inputs of all tasks."""
    leaves = [inputs] if isinstance(inputs, Tensor) else pytree.tree_leaves(inputs)
    leaves = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if any(leaf.device.type != "cpu" for leaf in leaves):
        return total
    size = sum(leaf.numel() for leaf in leaves) * _widening(learner)
    return max(1, int(numbers * total // max(1, size)))


def _widening(learner: nn.Module) -> float:
    """Return how many numbers a learner's layers make, at most, of one number of the inputs."""
    if learner not in _WIDENINGS:
        convolutions = [m for m in learner.modules() if isinstance(m, nn.modules.conv._ConvNd)]
        _WIDENINGS[learner] = max([1.0, *(m.out_channels / m.in_channels for m in convolutions)])
    return _WIDENINGS[learner]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
