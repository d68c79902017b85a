"""Inner loops that outlast an outer step: each step of the outer optimiser takes them only a segment further.

So a loop of thousands of inner steps gives a gradient every few of them, and its memory is that of a segment. What an
inner loop has reached is kept between outer steps, in as many slots as the meta-batch has tasks. A slot whose loop has
come to its end begins anew with a fresh task. The first loops are ended early, each slot's at another time, so that at
any moment the slots are at all stages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Resumable, State, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import CheckpointError, InputError
from quickstudy.operators import trees
from quickstudy.outer.base import Following, Outer
from quickstudy.problem import budget

Saved = dict[str, Tensor] | list[Tensor]
"""Leaves of slots in a checkpoint: by path, or in order in those of earlier versions."""
_FOREIGN = "the checkpoint's inner loops are those of another learner or meta-batch"


@dataclass
class Slots:
    """T inner loops under way, of tasks of one structure."""

    tasks: Task
    keys: Tensor
    """(T,) of the tasks."""
    done: Tensor
    """(T,) inner steps that were taken."""
    end: Tensor
    """(T,) inner steps at which to begin anew."""
    states: Any
    """Whatever else lasts: inner states, and what an estimator sums up along the loop."""


class Persistent(Outer):
    """Base of outer optimisers that go on with inner loops from one outer step to the next.

    Args:
        length: inner steps of a segment.
        lr: outer learning rate.
        following: keywords of `outer.Outer`.
    """

    same_everywhere: ClassVar[bool] = False

    def __init__(self, length: int, lr: float, **following: Unpack[Following]) -> None:
        super().__init__(lr, **following)
        if not isinstance(length, int) or length < 1:
            raise InputError(f"length must be a whole number of inner steps, at least 1, not {length!r}")
        self.length = length
        self._slots: dict[str, Slots] = {}
        self._restored: dict[str, Any] = {}
        self._specs: dict[str, list[trees.Structure]] = {}

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need an inner loop to interrupt, and an objective that judges along it."""
        if not isinstance(learner, Resumable):
            return (
                f"{type(learner).__name__} has no inner loop to take in segments (start, step, finish); use "
                "outer.Gradient"
            )
        if int(learner.inner_steps) < 1:
            return f"{type(learner).__name__} makes no inner step; give it steps of 1 or more"
        if objective.compares_tasks:
            return (
                f"its loops are at different stages, so {objective.name} cannot compare them; use "
                "outer.Gradient or outer.EvolutionStrategies"
            )
        if not objective.judges_states:
            return (
                f"the objective {objective.name} says nothing of a part of an inner loop; use "
                "objectives.InnerSteps, or outer.Gradient"
            )
        return None

    def prepare(self, learner: Learner) -> None:
        """Begin with no loop under way."""
        super().prepare(learner)
        self._slots, self._restored, self._specs = {}, {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Return the loops under way."""
        going = {
            name: {path: leaf.detach() for path, leaf in trees.named(_contents(slots)).items()}
            for name, slots in self._slots.items()
        }
        # Loops of a structure that has not come again since they were restored are still under way.
        return {**self._restored, **going}

    def tasks_in_progress(self, tasks: Task) -> Task | None:
        """Return the tasks of the loops, some of which began long ago."""
        slots = self._slots.get(self._name(tasks))
        return None if slots is None else slots.tasks

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with loops. Their structure is known when tasks of that structure come."""
        self._slots, self._restored = {}, dict(state)

    def slots(self, learner: Learner, tasks: Task, keys: Tensor) -> Slots:
        """Return the loops of tasks of this structure, those at their end with these tasks in their place."""
        name = self._name(tasks)
        if name not in self._slots:
            self._slots[name] = self._open(learner, tasks, keys, self._restored.pop(name, None))
        slots = self._slots[name]
        over = slots.done >= slots.end
        slots.tasks, slots.keys = _where(over, (tasks, keys), (slots.tasks, slots.keys))
        slots.end = torch.where(over, _steps(learner, tasks), slots.end)
        slots.done = torch.where(over, 0, slots.done)
        return slots

    def _name(self, tasks: Task) -> str:
        """Return a name of the tasks' structure. Nets that look alike are different ones still."""
        leaves, spec = trees.flatten(tasks)
        text = f"{spec} {[(tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves]}"
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        alike = self._specs.setdefault(name, [])
        if spec not in alike:
            alike.append(spec)
        return f"{name}-{alike.index(spec)}"

    def first(self, learner: Learner, state: State) -> Any:
        """Return what a slot holds whose loop is at an inner state: that state, unless an estimator needs more."""
        return state

    def _open(self, learner: Learner, tasks: Task, keys: Tensor, restored: Saved | None) -> Slots:
        with torch.no_grad():
            states = batching.map_tasks(lambda task, key: self.first(learner, begin(learner, task, key)), tasks, keys)
        # Laid out as what a segment returns: a recording is of one layout.
        states = trees.map_leaves(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), states)
        slot = torch.arange(len(keys), device=keys.device)
        segments = (_steps(learner, tasks) + self.length - 1) // self.length
        # Done with nothing, and to end after 1, 2, ... segments: spread evenly over the slots.
        end = self.length * (1 + slot * segments // len(keys))
        slots = Slots(tasks, keys, torch.zeros_like(slot), end, states)
        if restored is not None:
            own = trees.named(_contents(slots))
            if isinstance(restored, list):
                restored = self._by_path(learner, slots, restored)
            if {path: leaf.shape for path, leaf in restored.items()} != {path: old.shape for path, old in own.items()}:
                raise CheckpointError(_FOREIGN)
            # By path and not by place: a step may return a dictionary with its keys in another order.
            values = [restored[path].to(old.device, old.dtype) for path, old in own.items()]
            slots = Slots(*trees.unflatten(values, trees.flatten(_contents(slots))[1]))
        return slots

    def _by_path(self, learner: Learner, slots: Slots, restored: list[Tensor]) -> dict[str, Tensor]:
        """Return the leaves of slots of earlier checkpoints, which kept them without paths, in a step's order."""
        assert isinstance(learner, Resumable)

        def moved(task: Task, key: Tensor) -> Any:
            return self.first(learner, learner.step(begin(learner, task, key), task.support))

        with torch.no_grad():
            states = batching.map_tasks(moved, slots.tasks, slots.keys)
        paths = trees.named((*_contents(slots)[:-1], states))
        if len(restored) != len(paths):
            raise CheckpointError(_FOREIGN)
        return dict(zip(paths, restored, strict=True))

    def segment(self, meta_loss: MetaLoss, loop: Any) -> tuple[State, Tensor, Tensor]:
        """Take one loop a segment further.

        Args:
            meta_loss: for its learner, maybe with other parameters for the time being, and its objective.
            loop: (state, task, key, done) of one slot; with nothing done the state is begun anew.

        Returns:
            The state; the objective's share of this segment, times the number of segments, so that the mean over a
            loop's segments is the objective (a long loop has more of them, so it counts in more outer steps); and the
            mean loss of this segment, to be shown.
        """
        learner, objective = meta_loss.learner, meta_loss.objective
        assert isinstance(learner, Resumable)
        state, task, key, done = loop
        state = _where(done == 0, begin(learner, task, key), state)
        steps = budget(task.support)
        total = learner.inner_steps if steps is None else steps
        share, shown = [], []
        for number in range(1, self.length + 1):
            # A loop may end within a segment: then nothing moves or counts any more.
            within = torch.as_tensor(done + number <= total)
            state = _where(within, learner.step(state, task.support), state)
            loss = objective.after(learner, learner.finish(state, task.support), task, key)
            weight = objective.weight(done + number, total)
            share.append(torch.where(within, weight, 0).to(loss.dtype) * loss)
            shown.append(loss.detach())
        segments = (total + self.length - 1) // self.length
        return state, torch.stack(share).sum() * segments, torch.stack(shown).mean()


def joined(parts: list[Any]) -> Any:
    """Return one batch of several."""
    return parts[0] if len(parts) == 1 else trees.map_leaves(lambda *leaves: torch.cat(leaves), *parts)


def begin(learner: Learner, task: Task, key: Tensor) -> State:
    """Return a learner's state before the first inner step."""
    assert isinstance(learner, Resumable)
    return learner.start(task.support, key) if learner.stochastic else learner.start(task.support)


def _steps(learner: Learner, tasks: Task) -> Tensor:
    """Return the inner steps of each of T tasks."""
    known, own = budget(tasks.support), int(learner.inner_steps)  # type: ignore[arg-type]
    like = tasks.query.labels
    return torch.full((len(like),), own, device=like.device) if known is None else known


def _where(condition: Tensor, new: Any, old: Any) -> Any:
    """Return the one pytree where a condition () or (T,) holds, else the other."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return trees.map_leaves(pick, new, old)


def _contents(slots: Slots) -> tuple[Any, ...]:
    return slots.tasks, slots.keys, slots.done, slots.end, slots.states
