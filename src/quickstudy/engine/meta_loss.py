"""The losses of a meta-batch and their gradient: in chunks that fit, recorded or compiled, or of a population."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from quickstudy.batching import Compile, adapt, chunks, count, map_tasks
from quickstudy.core import Learner, Task
from quickstudy.engine import sizes
from quickstudy.engine.objective import LossOfTask, Objective, lifted
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.engine.recording import Recordable, Recorded
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.operators.derivatives import raise_without_derivative
from quickstudy.operators.substitution import with_parameters

log = logging.getLogger(__name__)

ROOMY = ("cpu",)
"""Devices that do not tell of a lack of memory by an error that one could go on after."""


class MetaLoss:
    """The meta-loss: the losses of a learner on a meta-batch, and their gradient by its parameters.

    It binds all that does not change from one outer step to the next, so that an outer optimiser is given nothing else
    but the tasks. Where the objective judges the end of an inner loop (`Objective.judges_end`), all tasks of a chunk
    adapt together, and then few at a time are judged on their queries, which are many more rows. Gradients are handed
    over at the states, and no more is kept than those few need.

    Args:
        learner: whose parameters are learned.
        objective: loss of one task, or a function that is one.
        chunk_size: tasks at once; None chooses (see `size`).
        compile: record losses and gradient as a whole (see `recording`), and compile them if True; where that fails,
            say so once and go on without (never partly compiled, which is slow without a word).
        ranks: the processes that share a meta-batch.
    """

    def __init__(
        self,
        learner: Learner,
        objective: Objective | LossOfTask,
        chunk_size: int | None = None,
        compile: Compile = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.learner, self.objective = learner, lifted(objective)
        self.chunk_size, self.compile, self.ranks = chunk_size, compile, ranks
        self._recorded: dict[Any, Recorded] = {}

    def __call__(self, tasks: Task, keys: Tensor, learner: Learner | None = None) -> Tensor:
        """Return (T,) losses of one chunk of tasks, of the learner or of another one in its place."""
        loss = functools.partial(_scalar, self.objective, self.objective, self.learner if learner is None else learner)
        losses: Tensor = map_tasks(loss, tasks, keys)
        return losses

    def alone(self) -> MetaLoss:
        """Return the same of this process alone, not recorded."""
        other = copy.copy(self)
        other.ranks, other.compile, other._recorded = ALONE, False, {}
        return other

    def combine(self, losses: Tensor) -> Tensor:
        """Return what the losses (T,) of all tasks of a meta-batch become: a scalar."""
        return self.objective.combine(losses)

    def share(self, losses: Tensor) -> Tensor:
        """Average the parameters' gradients over processes, and return the losses (T,) of all their tasks in order."""
        return self.ranks.share(self.learner.parameters(), losses)

    def backward(self, tasks: Task, keys: Tensor, learner: Learner | None = None) -> Tensor:
        """Add the gradient of the combined loss to the parameters' `.grad`, chunk by chunk; return the (T,) losses.

        Where a GPU has too little memory for a chunk, chunks are halved from then on.

        Args:
            tasks: T tasks.
            keys: (T,).
            learner: one with the same parameters, through which the gradient passes in another way; None is the own.
        """
        learner = self.learner if learner is None else learner
        if keys.device.type in ROOMY:
            return self._backward(learner, tasks, keys)
        kept = [p.grad for p in learner.parameters()]
        while True:
            try:
                return self._backward(learner, tasks, keys)
            except torch.OutOfMemoryError:
                size = self.size(tasks, len(keys))
                if size == 1 or any(grad is not None for grad in kept):
                    raise
                self.chunk_size = -(-min(size, len(keys)) // 2)
                log.warning("not enough memory for %d tasks at once, going on with %d", size, self.chunk_size)
                for parameter in learner.parameters():
                    parameter.grad = None

    def population(self, candidates: dict[str, Tensor], tasks: Task, keys: Tensor) -> Tensor:
        """Return the (P, T) losses that the learner has with each of P sets of parameters; nothing is differentiated.

        Args:
            candidates: (P, ...) values of parameters, by name.
            tasks: T tasks, the same for all candidates.
            keys: (T,).
        """
        room, total = self.size(tasks, len(keys)), len(keys)
        if self.chunk_size is None and keys.device.type not in ROOMY:
            room = total * count(candidates)
        found = []
        for part in chunks(candidates, max(1, room // total)):
            judged = [
                self._replayed(self._judge, self.learner, (part, *some))
                for some in chunks((tasks, keys), min(room, total))
            ]
            found.append(torch.cat(judged, 1))
        return torch.cat(found)

    def size(self, tasks: Task, total: int) -> int:
        """Return how many of all tasks adapt at once: as asked, or on a CPU as fit its cache and on a GPU all."""
        return self.chunk_size or sizes.adapting(self.learner, tasks, total)

    def recorded(self, function: Callable[[MetaLoss, Any], Any], inputs: Any) -> Any:
        """Return function(this, inputs): recorded the first time, and replayed from then on, where that is asked for
        and can be done.

        Args:
            function: the same object each time. It returns a pytree of tensors, the first of them losses, and may add
                to the gradients of the learner's parameters.
            inputs: a pytree of tensors.
        """
        return self._replayed(function, self.learner, inputs, lambda _, given: function(self, given))

    def _replayed(
        self, key: Callable[..., Any], learner: Learner, inputs: Any, function: Recordable | None = None
    ) -> Any:
        """Return function(learner, inputs), recorded under a key, which is the function unless one is given."""
        function = key if function is None else function
        if not self.compile:
            return function(learner, inputs)
        if key not in self._recorded:
            self._recorded[key] = Recorded(function, self.compile is True, [self.objective])
        try:
            return self._recorded[key](learner, inputs)
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
            return with_parameters(learner, candidate, self, tasks, keys, learner)  # type: ignore[no-any-return]

        with torch.no_grad():
            found: Tensor = map_tasks(losses, candidates)
        return found

    def _backward(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        try:
            return self._backward_in_chunks(learner, tasks, keys)
        except RuntimeError as error:
            raise_without_derivative(error, learner, lambda: self(tasks, keys, learner))
            raise

    def _backward_in_chunks(self, learner: Learner, tasks: Task, keys: Tensor) -> Tensor:
        size = self.size(tasks, len(keys))
        batch = (tasks, keys, self._weights(learner, tasks, keys, size))
        if size >= len(keys):
            return self._replayed(self._backward_plain, learner, batch)  # type: ignore[no-any-return]
        return torch.cat([self._replayed(self._backward_plain, learner, part) for part in chunks(batch, size)])

    def _weights(self, learner: Learner, tasks: Task, keys: Tensor, size: int) -> Tensor:
        """Return the derivative of the combined loss by each loss (T,)."""
        dtype = next((p.dtype for p in learner.parameters()), torch.float32)
        dtype = torch.promote_types(dtype, torch.float32)
        if not self.objective.compares_tasks:
            return torch.full((len(keys),), 1 / len(keys), dtype=dtype, device=keys.device)
        with torch.no_grad():
            own = torch.cat([self(part, some, learner) for part, some in chunks((tasks, keys), size)])
        losses = self.ranks.gather(own).to(dtype).requires_grad_()
        (weights,) = torch.autograd.grad(self.combine(losses), losses)
        start = self.ranks.rank * len(keys)
        # Gradients are averaged over processes.
        return weights[start : start + len(keys)] * self.ranks.size

    def _backward_plain(self, learner: Learner, batch: tuple[Task, Tensor, Tensor]) -> Tensor:
        tasks, keys, weights = batch
        few = sizes.judging(learner, tasks, len(keys))
        if self.objective.judges_end and few < len(keys):
            return self._backward_in_two(learner, batch, few)
        loss = self(tasks, keys, learner)
        if loss.requires_grad:
            (loss * weights).sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _backward_in_two(self, learner: Learner, batch: tuple[Task, Tensor, Tensor], few: int) -> Tensor:
        tasks, keys, _ = batch
        states, spec = trees.flatten(adapt(learner, tasks.support, keys if learner.stochastic else None))
        trainable = [i for i, leaf in enumerate(states) if isinstance(leaf, Tensor) and leaf.requires_grad]
        losses, cotangents = [], []
        cut = [leaf.detach() if i in trainable else leaf for i, leaf in enumerate(states)]
        for leaves, (part, part_keys, weights) in zip(chunks(cut, few), chunks(batch, few), strict=True):
            asked = [leaves[i].requires_grad_() for i in trainable]
            state = trees.unflatten(leaves, spec)
            after = functools.partial(_scalar, self.objective, self.objective.after, learner)
            loss = map_tasks(after, state, part, part_keys)
            if loss.requires_grad:
                (loss * weights).sum().backward()
            losses.append(loss.detach())
            cotangents.append([torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in asked])
        if trainable:
            joined = [torch.cat(each) for each in zip(*cotangents, strict=True)]
            torch.autograd.backward([states[i] for i in trainable], joined)
        return torch.cat(losses)


def _scalar(objective: Objective, judge: Callable[..., Tensor], *given: Any) -> Tensor:
    """Return what an objective makes of one task, or raise InputError if that is no scalar."""
    loss = judge(*given)
    if isinstance(loss, Tensor) and not loss.ndim:
        return loss
    found = f"shape {tuple(loss.shape)}; take the mean, say" if isinstance(loss, Tensor) else type(loss).__name__
    raise InputError(f"objective '{objective.name}' must return one task's loss, a tensor of shape (), not {found}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
