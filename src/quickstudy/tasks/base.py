"""FROM WHERE tasks come: what every task distribution is.

A distribution is an endless stream of tasks, and task i is a pure function of (seed, i). So a stream can be entered
anywhere: a run resumes, ranks draw different tasks, and a bank of test tasks is the same for everybody.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from quickstudy.core import Task
from quickstudy.errors import CheckpointError, InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import whole

BANK_VERSION = 1
Plan = dict[str, Tensor]
"""What says exactly which tasks they are, one row a task: indices of examples, or parameters of functions."""


AHEAD = 512
"""Tasks that are planned at once: planning a few costs about as much as planning a hundred."""


@dataclass(frozen=True)
class Ahead:
    """A plan of the next tasks of a stream."""

    facts: tuple[Any, ...]
    """The distribution's attributes when it was made; with others it would be another plan."""
    start: int
    plan: Plan


def check_seed(seed: Any) -> int:
    """Return the seed of a stream, or raise InputError if it is no whole number of 64 bits."""
    return whole("seed", seed, None)


def shifted(seed: int) -> int:
    """Return by how much the indices of a source are shifted for each seed of what wraps it, as 64 bits hold it."""
    return ((seed << 32) + 2**63) % 2**64 - 2**63


class TaskDistribution:
    """Base of task distributions. Subclasses implement `plan` and `gather`.

    Args:
        seed: the stream's seed.

    Raises:
        InputError: the seed is no whole number.
    """

    name: str = "tasks"
    metric: str = "accuracy"
    """'accuracy' for classification, 'mse' or 'log_likelihood' for regression, 'iou' for segmentation, 'loss' for
    problems of optimisation."""
    sequential: bool = False
    """Whether a task is a sequence, each of whose rows is predicted from those before it."""
    longest: int | None = None
    """Most steps that a task gives its learner (`quickstudy.problem`), where tasks say so."""
    uniform: bool = True
    """Whether all tasks have the same structure and can be in one batch."""
    _last: int = -AHEAD
    _ahead: Ahead | None = None

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_seed(seed)
        self.device = torch.device("cpu")
        self._last, self._ahead = -AHEAD, None

    def plan(self, indices: Tensor) -> Plan:
        """Return what task i of the stream is, for each i in indices (T,)."""
        raise NotImplementedError

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        raise NotImplementedError

    def draw(self, indices: Tensor) -> Task:
        """Return tasks number `indices` (T,) of the stream, batched."""
        return self.gather(self._planned(indices))

    def _planned(self, indices: Tensor) -> Plan:
        """Return `plan(indices)`; where tasks are drawn one after the other, from a plan of many, made at once."""
        first, count = int(indices[0]) if len(indices) else 0, len(indices)
        if not torch.equal(indices, torch.arange(first, first + count, device=indices.device)):
            return self.plan(indices.to(self.device))
        goes_on = self._last <= first < self._last + AHEAD
        self._last = first + count
        if not goes_on or count >= AHEAD:
            return self.plan(indices.to(self.device))
        # Listed at once: another thread may draw its first tasks, which adds attributes.
        facts = tuple(
            [v if isinstance(v, (int, float, str)) else id(v) for k, v in list(vars(self).items()) if k[0] != "_"]
        )
        ahead = self._ahead
        if ahead is None or ahead.facts != facts or not ahead.start <= first <= first + count <= ahead.start + AHEAD:
            plan = self.plan(torch.arange(first, first + AHEAD, device=self.device))
            ahead = self._ahead = Ahead(facts, first, plan)
        part = slice(first - ahead.start, first - ahead.start + count)
        return {name: value[part] for name, value in ahead.plan.items()}

    def batch(self, start: int, count: int) -> Task:
        """Return tasks start, ..., start + count - 1 of the stream, batched."""
        return self.draw(torch.arange(start, start + count))

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan that was read from a file, of the right shapes, is none of these tasks; None if it can be.

        What is drawn needs no check. The base asks for finite numbers.
        """
        for name, values in plan.items():
            if values.dtype.is_floating_point and not bool(torch.isfinite(values).all()):
                return f"'{name}' holds NaN or infinity"
        return None

    def kinds(self, plan: Plan) -> Tensor:
        """Return numbers (T,), equal where tasks of a plan can be batched."""
        return torch.zeros(len(next(iter(plan.values()))), dtype=torch.long)

    def runs(self, indices: Tensor) -> list[Tensor]:
        """Return indices (T,) cut where the next task cannot be batched with the one before."""
        if self.uniform or not len(indices):
            return [indices]
        _, counts = torch.unique_consecutive(self.kinds(self._planned(indices)), return_counts=True)
        return list(torch.split(indices, counts.tolist()))

    def keys(self, indices: Tensor) -> Tensor:
        """Return the random key of each task (T,)."""
        return random.fold_in(random.key(self.seed, self.device), indices)

    def to(self, device: torch.device | str) -> Self:
        """Move to a device what tasks are drawn from; return self."""
        self.device = torch.device(device)
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that tasks are made of; empty where there are none."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Hash of what tasks are drawn from, which a bank stores."""
        return ""

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks, as JSON, for run folders and reports."""
        return {"tasks": type(self).__name__, "name": self.name, "seed": self.seed}

    def bank(self, count: int, seed: int = 2024) -> Bank:
        """Return a fixed bank of test tasks: the first `count` of the stream with another seed.

        Raises:
            InputError: no task is asked for, or the seed is no whole number.
        """
        count, seed = whole("count", count), check_seed(seed)
        return Bank(self, self.seeded(seed).plan(torch.arange(count, device=self.device)), seed)

    def seeded(self, seed: int) -> Self:
        """Return the stream of the same tasks with another seed. This one stays as it is."""
        other = copy.copy(self)
        other.seed = seed
        return other


class Bank(TaskDistribution):
    """A fixed list of tasks, the same at every evaluation; can be saved and reloaded.

    Args:
        source: the distribution that the plan is of.
        plan: one row a task.
        seed: of the stream that the plan was taken from.
    """

    def __init__(self, source: TaskDistribution, plan: Plan, seed: int | None = None) -> None:
        super().__init__(source.seed if seed is None else seed)
        self.source, self._plan = source, plan
        self.name, self.metric, self.device = source.name, source.metric, source.device
        self.sequential, self.uniform, self.longest = source.sequential, source.uniform, source.longest

    def __len__(self) -> int:
        return len(next(iter(self._plan.values())))

    def plan(self, indices: Tensor) -> Plan:
        """Return rows of the bank."""
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            absent = indices[(indices < 0) | (indices >= len(self))]
            raise InputError(f"the bank has {len(self)} tasks; task {int(absent[0])} does not exist")
        return {name: value[indices.to(value.device)] for name, value in self._plan.items()}

    def gather(self, plan: Plan) -> Task:
        """Return the tasks of a plan."""
        return self.source.gather(plan)

    def refuses(self, plan: Plan) -> str | None:
        """Return what the source says of a plan."""
        return self.source.refuses(plan)

    def kinds(self, plan: Plan) -> Tensor:
        """Return which tasks of a plan can be batched."""
        return self.source.kinds(plan)

    def _planned(self, indices: Tensor) -> Plan:
        return self.plan(indices)

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        self.source.to(device)
        self._plan = {name: value.to(device) for name, value in self._plan.items()}
        return super().to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.source.classes

    @property
    def fingerprint(self) -> str:
        """Hash of the data."""
        return self.source.fingerprint

    def describe(self) -> dict[str, Any]:
        """Return facts about the bank."""
        return {**self.source.describe(), "seed": self.seed, "bank": len(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank: which rows of the data, not the data themselves."""
        from quickstudy.storage.checkpoint import write_atomically

        facts = {"version": str(BANK_VERSION), "fingerprint": self.fingerprint, "tasks": json.dumps(self.describe())}
        plan = {name: value.cpu().contiguous() for name, value in self._plan.items()}
        write_atomically(Path(path), save(plan, {**facts, "digest": digest(plan, facts)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], source: TaskDistribution) -> Bank:
        """Read a bank for the distribution that it was made from.

        Args:
            path: a file that `save` wrote.
            source: the distribution, built as it was: on the same data, with the same arguments but for the seed.

        Raises:
            CheckpointError: the file is no bank, of another version, damaged or changed, made from other data or from
                a distribution with other arguments, or its rows cannot be tasks of it.
        """
        if not isinstance(source, TaskDistribution):
            raise InputError(f"source must be the task distribution of the bank, not {type(source).__name__}")
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                plan = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise CheckpointError(f"cannot read the bank {path}: {error}; save it again with bank.save") from error
        if facts.get("version") != str(BANK_VERSION):
            raise CheckpointError(f"bank {path} has version {facts.get('version')}, this library reads {BANK_VERSION}")
        if facts.get("fingerprint") != source.fingerprint:
            raise CheckpointError(f"bank {path} was made from other data; build the same split, or make a new bank")
        # Banks of earlier versions have no digest; their rows are checked like all others'.
        if facts.get("digest", "") not in ("", digest(plan, facts)):
            raise CheckpointError(
                f"bank {path} is damaged: its tasks are not those that were saved; take an intact copy, or make a new "
                "bank"
            )
        expected = source.plan(torch.zeros(1, dtype=torch.long, device=source.device))
        if _form(plan) != _form(expected) or len({value.shape[0] for value in plan.values()}) > 1:
            raise CheckpointError(f"bank {path} holds tasks of another shape than this {type(source).__name__} draws")
        if not all(len(value) for value in plan.values()):
            raise CheckpointError(f"bank {path} holds no task; make a new bank")
        seed = _check_facts(f"bank {path}", facts.get("tasks", "{}"), plan, source)
        plan = {name: value.to(source.device) for name, value in plan.items()}
        reason = source.refuses(plan)
        if reason is not None:
            raise CheckpointError(f"bank {path} holds no tasks of {type(source).__name__}: {reason}; make a new bank")
        return cls(source, plan, seed)


def digest(plan: Plan, facts: Mapping[str, str]) -> str:
    """Return the SHA-256 of a plan and of what is said of it."""
    found = hashlib.sha256(json.dumps([facts.get(name) for name in ("version", "fingerprint", "tasks")]).encode())
    for name in sorted(plan):
        value = plan[name].contiguous()
        found.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        found.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _form(plan: Plan) -> dict[str, Any]:
    return {name: (value.dtype, tuple(value.shape[1:])) if value.ndim else None for name, value in plan.items()}


def _check_facts(what: str, text: str, plan: Plan, source: TaskDistribution) -> int | None:
    """Return the seed that a bank was saved with, once what it says of its tasks fits them and their source."""
    try:
        told = json.loads(text)
        seed = told.get("seed")
        seed, count = None if seed is None else check_seed(seed), told.get("bank")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{what} has a damaged description ({error}); make a new bank") from error
    if count is not None and count != len(next(iter(plan.values()))):
        raise CheckpointError(f"{what} says that it has {count!r} tasks and holds {len(next(iter(plan.values())))}")
    other = _differing(told, json.loads(json.dumps(source.describe())))
    if other is not None:
        raise CheckpointError(f"{what} is of other tasks: {other}; build the distribution as when the bank was made")
    return seed


def _differing(told: Any, own: Any) -> str | None:
    """Return in which fact two descriptions of tasks differ, or None. Seeds and names of data may, and facts of one."""
    for name in told.keys() & own.keys() - {"seed", "name", "bank"}:
        one, other = told[name], own[name]
        if isinstance(one, dict) and isinstance(other, dict):
            found = _differing(one, other)
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            found = None
            for pair in zip(one, other, strict=True):
                found = found or _differing({name: pair[0]}, {name: pair[1]})
        else:
            found = None if one == other else f"{name}={one!r}, not {other!r}"
        if found is not None:
            return found
    return None
