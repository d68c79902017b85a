"""Losses of a meta-batch and their gradient: in chunks that fit, recorded or compiled, or of a population."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from quickstudy.batching import Compile, Objective, adapt, chunks, count, map_tasks
from quickstudy.core import Learner, Task
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.engine.recording import Recordable, Recorded
from quickstudy.operators import trees
from quickstudy.operators.internals import AnyConvolution
from quickstudy.operators.substitution import with_parameters

log = logging.getLogger(__name__)


class TaskLosses:
    """Losses of a batch of tasks and their gradient, in chunks, recorded or compiled as a whole where that works.

    Args:
        objective: loss of one task. Where it has an attribute `after(learner, state, task, key)`, its value given what
            `adapt` returned, all tasks of a chunk adapt together, and then few at a time are judged on their queries,
            which are many more rows: gradients are handed over at the states, and no more is kept than those few need.
            Where it has `combine(losses)`, that and not the mean is what the losses of a meta-batch become.
        chunk_size: tasks at once; None chooses (see `size`).
        compile: record losses and gradient as a whole (see `recording`), and compile them if True; where that fails,
            say so once and go on without (never partly compiled, which is slow without a word).
        ranks: the processes that share a meta-batch.
    """

    def __init__(
        self, objective: Objective, chunk_size: int | None = None, compile: Compile = False, ranks: Ranks = ALONE
    ) -> None:
        self.objective, self.chunk_size, self.compile, self.ranks = objective, chunk_size, compile, ranks
        self._after: Callable[..., Tensor] | None = getattr(objective, "after", None)
        self._recorded: dict[Recordable, Recorded] = {}

    def __call__(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        """Return (T,) losses of one chunk of tasks."""
        losses: Tensor = map_tasks(functools.partial(self.objective, learner), tasks, keys)
        return losses

    def combine(self, losses: Tensor) -> Tensor:
        """Return what the losses (T,) of all tasks of a meta-batch become: a scalar."""
        combine = getattr(self.objective, "combine", None)
        return losses.mean() if combine is None else combine(losses)

    def backward(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        """Add the gradient of the combined loss to the parameters' `.grad`, chunk by chunk; return the (T,) losses.

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

    def population(self, learner: Learner, candidates: dict[str, Tensor], tasks: Task, keys: Tensor) -> Tensor:
        """Return the (P, T) losses that a learner has with each of P sets of parameters; nothing is differentiated.

        Args:
            learner: whose parameters are exchanged.
            candidates: (P, ...) values of parameters, by name.
            tasks: T tasks, the same for all candidates.
            keys: (T,).
        """
        room, total = self.size(learner, tasks, len(keys)), len(keys)
        if self.chunk_size is None and keys.device.type not in ROOMY:
            room = total * count(candidates)
        found = []
        for part in chunks(candidates, max(1, room // total)):
            judged = [
                self.recorded(self._judge, learner, (part, *some)) for some in chunks((tasks, keys), min(room, total))
            ]
            found.append(torch.cat(judged, 1))
        return torch.cat(found)

    def size(self, learner: Learner, tasks: Task, total: int) -> int:
        """Return how many of all tasks adapt at once: as asked, or on a CPU as fit its cache and on a GPU all."""
        return self.chunk_size or _fitting(learner, tasks.support.inputs, ADAPTING_NUMBERS, total)

    def recorded(self, function: Recordable, learner: Learner, inputs: Any) -> Any:
        """Return function(learner, inputs): recorded the first time, and replayed from then on, where that is asked for
        and can be done.

        Args:
            function: the same object each time; it may add to the gradients of the learner's parameters.
            learner: the learner.
            inputs: a pytree of tensors.
        """
        if not self.compile:
            return function(learner, inputs)
        if function not in self._recorded:
            also = [self.objective] if isinstance(self.objective, nn.Module) else []
            self._recorded[function] = Recorded(function, self.compile is True, also)
        try:
            return self._recorded[function](learner, inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # recording runs all of the learner, and may fail in as many ways
            log.warning("cannot record this learner's step as a whole, going on without: %s", _first_line(error))
            self.compile = False
            self._recorded.clear()
        return function(learner, inputs)

    def _judge(self, learner: Learner, inputs: Any) -> Tensor:
        candidates, tasks, keys = inputs

        def losses(candidate: dict[str, Tensor]) -> Tensor:
            return with_parameters(learner, candidate, self, learner, tasks, keys)  # type: ignore[no-any-return]

        with torch.no_grad():
            found: Tensor = map_tasks(losses, candidates)
        return found

    def _backward(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        size = self.size(learner, tasks, len(keys))
        batch = (tasks, keys, self._weights(learner, tasks, keys, size))
        if size >= len(keys):
            return self.recorded(self._backward_plain, learner, batch)  # type: ignore[no-any-return]
        return torch.cat([self.recorded(self._backward_plain, learner, part) for part in chunks(batch, size)])

    def _weights(self, learner: Learner, tasks: Task, keys: Tensor, size: int) -> Tensor:
        """Return the derivative of the combined loss by each loss (T,)."""
        dtype = next((p.dtype for p in learner.parameters()), torch.float32)
        dtype = torch.promote_types(dtype, torch.float32)
        if getattr(self.objective, "combine", None) is None:
            return torch.full((len(keys),), 1 / len(keys), dtype=dtype, device=keys.device)
        with torch.no_grad():
            own = torch.cat([self(learner, *part) for part in chunks((tasks, keys), size)])
        losses = self.ranks.gather(own).to(dtype).requires_grad_()
        (weights,) = torch.autograd.grad(self.combine(losses), losses)
        start = self.ranks.rank * len(keys)
        # Gradients are averaged over processes.
        return weights[start : start + len(keys)] * self.ranks.size

    def _backward_plain(self, learner: Learner, batch: tuple[Task, Tensor, Tensor]) -> Tensor:
        tasks, keys, weights = batch
        few = _fitting(learner, tasks.query.inputs, JUDGED_NUMBERS, len(keys))
        if self._after is not None and few < len(keys):
            return self._backward_in_two(learner, batch, few)
        loss = self(learner, tasks, keys)
        if loss.requires_grad:
            (loss * weights).sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _backward_in_two(self, learner: Learner, batch: tuple[Task, Tensor, Tensor], few: int) -> Tensor:
        assert self._after is not None
        tasks, keys, _ = batch
        states, spec = trees.flatten(adapt(learner, tasks.support, keys if learner.stochastic else None))
        taught = [i for i, leaf in enumerate(states) if isinstance(leaf, Tensor) and leaf.requires_grad]
        losses, cotangents = [], []
        cut = [leaf.detach() if i in taught else leaf for i, leaf in enumerate(states)]
        for leaves, (part, part_keys, weights) in zip(chunks(cut, few), chunks(batch, few), strict=True):
            asked = [leaves[i].requires_grad_() for i in taught]
            state = trees.unflatten(leaves, spec)
            after = functools.partial(self._after, learner)
            loss = map_tasks(after, state, part, part_keys)
            if loss.requires_grad:
                (loss * weights).sum().backward()
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
    leaves = [inputs] if isinstance(inputs, Tensor) else trees.leaves(inputs)
    leaves = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if any(leaf.device.type != "cpu" for leaf in leaves):
        return total
    size = sum(leaf.numel() for leaf in leaves) * _widening(learner)
    return max(1, int(numbers * total // max(1, size)))


def _widening(learner: nn.Module) -> float:
    """Return how many numbers a learner's layers make, at most, of one number of the inputs."""
    if learner not in _WIDENINGS:
        convolutions = [m for m in learner.modules() if isinstance(m, AnyConvolution)]
        _WIDENINGS[learner] = max([1.0, *(m.out_channels / m.in_channels for m in convolutions)])
    return _WIDENINGS[learner]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
