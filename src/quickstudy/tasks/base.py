"""FROM WHERE tasks come: what every task distribution is.

A distribution is an endless stream of tasks, and task i is a pure function of (seed, i). So a stream can be entered
anywhere: a run resumes, ranks draw different tasks, and a bank of test tasks is the same for everybody.
"""

from __future__ import annotations

import copy
import json
import os
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


class TaskDistribution:
    """Base of task distributions. Subclasses implement `plan` and `gather`.

    Args:
        seed: the stream's seed.
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
        self.seed = seed
        self.device = torch.device("cpu")

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
        facts = tuple([v if isinstance(v, (int, float, str)) else id(v) for k, v in vars(self).items() if k[0] != "_"])
        ahead = self._ahead
        if ahead is None or ahead.facts != facts or not ahead.start <= first <= first + count <= ahead.start + AHEAD:
            plan = self.plan(torch.arange(first, first + AHEAD, device=self.device))
            ahead = self._ahead = Ahead(facts, first, plan)
        part = slice(first - ahead.start, first - ahead.start + count)
        return {name: value[part] for name, value in ahead.plan.items()}

    def batch(self, start: int, count: int) -> Task:
        """Return tasks start, ..., start + count - 1 of the stream, batched."""
        return self.draw(torch.arange(start, start + count))

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
        """Return a fixed bank of test tasks: the first `count` of the stream with another seed."""
        other = copy.copy(self)  # rather than this one with another seed, which other threads would see
        other.seed = seed
        return Bank(self, other.plan(torch.arange(count, device=self.device)), seed)


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
        if len(indices) and int(indices.max()) >= len(self):
            raise InputError(f"the bank has {len(self)} tasks; task {int(indices.max())} does not exist")
        return {name: value[indices.to(value.device)] for name, value in self._plan.items()}

    def gather(self, plan: Plan) -> Task:
        """Return the tasks of a plan."""
        return self.source.gather(plan)

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
        write_atomically(Path(path), save(plan, facts))

    @classmethod
    def load(cls, path: str | os.PathLike[str], source: TaskDistribution) -> Bank:
        """Read a bank for the distribution that it was made from.

        Raises:
            CheckpointError: the file is no bank, of another version, or made from other data.
        """
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                plan = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"cannot read the bank {path}: {error}; save it again with bank.save") from error
        if facts.get("version") != str(BANK_VERSION):
            raise CheckpointError(f"bank {path} has version {facts.get('version')}, this library reads {BANK_VERSION}")
        if facts.get("fingerprint") != source.fingerprint:
            raise CheckpointError(f"bank {path} was made from other data; build the same split, or make a new bank")
        expected = source.plan(torch.zeros(1, dtype=torch.long, device=source.device))
        shapes = {name: tuple(value.shape[1:]) for name, value in expected.items()}
        if {name: tuple(value.shape[1:]) for name, value in plan.items()} != shapes:
            raise CheckpointError(f"bank {path} holds tasks of another shape than {source!r} draws")
        return cls(source, plan, json.loads(facts.get("tasks", "{}")).get("seed"))
