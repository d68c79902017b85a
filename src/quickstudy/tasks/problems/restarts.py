"""One problem again and again, from another beginning each time.

What is learned from it (example weights, a few synthetic examples, augmentations) is then not made for one
initialisation of a net (Wang et al. 2018, "Dataset Distillation", section 3.2: random initialisations).
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import nn

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.initialisation import initialise
from quickstudy.problem import Optimizee, Problem
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.one_task import OneTask
from quickstudy.tasks.problems.fitting import fingerprint_of


@register("tasks")
class Restarts(OneTask):
    """A stream of one problem: fit a net to the support, judged by the query, from a start drawn for each task.

    Args:
        net: any module of layers that `nets.initialisation.initialise` knows.
        support: rows (S) to fit.
        query: rows (Q) by which a fit is judged.
        name: how results name it.
        seed: the stream's seed.

    Raises:
        InputError: a layer whose beginning is not known.
    """

    def __init__(
        self, net: nn.Module, support: Examples, query: Examples, name: str = "restarts", seed: int = 0
    ) -> None:
        if not isinstance(support, Examples) or not isinstance(query, Examples):
            raise InputError("support and query must be Examples: Restarts(net, support, query)")
        first = initialise(net, random.key(0))
        rows = Problem(Optimizee(support.inputs, net), support.labels, first, support.mask, support.ways)
        asked = Examples(Optimizee(query.inputs, net), query.labels, query.mask, query.ways, check=False)
        super().__init__(Task(rows, asked), name=name, seed=seed)
        self.net = net

    def plan(self, indices: torch.Tensor) -> Plan:
        """Return the keys of the beginnings (T,)."""
        return {**super().plan(indices), "key": random.fold_in(self.keys(indices), 1)}

    def gather(self, plan: Plan) -> Task:
        """Return the problem T times, its rows views of the same ones."""
        task = super().gather(plan)
        support = copy.copy(task.support)
        object.__setattr__(support, "start", initialise(self.net, plan["key"]))
        return Task(support, task.query)

    def to(self, device: torch.device | str) -> Self:
        """Move the rows and the net to a device."""
        self.net.to(device)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Short hash of the rows and of the net."""
        return fingerprint_of(self.net, super().fingerprint)

    def describe(self) -> dict[str, Any]:
        """Return facts about the problem."""
        return {**super().describe(), "net": type(self.net).__name__}

    def __repr__(self) -> str:
        return f"Restarts({type(self.net).__name__}, support={len(self.task.support)}, queries={len(self.task.query)})"
