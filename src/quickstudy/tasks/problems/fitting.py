"""Optimisation problems as tasks: fitting a net to data, from another beginning each time.

What learned optimisers are meta-trained on and measured by (Andrychowicz et al. 2016, "Learning to learn by gradient
descent by gradient descent"; Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up"). A task's
support is a `Problem`: the rows to fit, the net, and where its parameters begin. Its query says how good a fit is.
"""

from __future__ import annotations

import hashlib
import math
from numbers import Real
from typing import Any, Self

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Task
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import plain, shown, whole
from quickstudy.nets.initialisation import initialise
from quickstudy.problem import Optimizee, Problem
from quickstudy.registry import register
from quickstudy.tasks.base import Plan
from quickstudy.tasks.data.few_shot import Range, parse_range
from quickstudy.tasks.plans import refused_labels, refused_rows, refused_values
from quickstudy.tasks.rows import DataTasks, examples

Scale = float | tuple[float, float]
"""A positive number, or a range (low, high) of which each task draws one, its logarithm uniform."""


def parse_scale(name: str, value: Scale) -> tuple[float, float]:
    """Return the ends of a positive number or a range of them, or raise InputError."""
    ends = [plain(end) for end in (value if isinstance(value, (tuple, list)) else (value, value))]
    if len(ends) != 2 or not all(isinstance(end, Real) for end in ends) or not 0 < ends[0] <= ends[1] < math.inf:
        raise InputError(f"{name} must be a positive number or a range (low, high) of them, not {shown(value)}")
    return float(ends[0]), float(ends[1])


def widened(ends: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a scale with room for rounding."""
    return ends[0] * (1 - 1e-5), ends[1] * (1 + 1e-5)


def draw_scale(keys: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return (T,) numbers between the ends, their logarithm uniform."""
    low, high = math.log(ends[0]), math.log(ends[1])
    return torch.exp(low + (high - low) * random.uniform(keys))


def fingerprint_of(net: nn.Module, *facts: Any) -> str:
    """Return a short hash of a net's layers and shapes, and of further facts: what problems, and banks of them, fit."""
    layers = repr(net)
    shapes = [(name, tuple(value.shape)) for name, value in net.named_parameters()]
    return hashlib.sha256(repr((layers, shapes, facts)).encode()).hexdigest()[:16]


@register("tasks")
class Fitting(DataTasks):
    """Fitting a net to random rows of a classification data set, by cross-entropy.

    Each task draws its classes, the rows to fit and others to be judged by, the scale of the inputs, and where the
    net's parameters begin (`nets.initialisation`). Classes are balanced, as far as rows divide among them.

    Args:
        net: any module of layers that `initialise` knows, as many outputs as `ways`. One net for all tasks: problems
            of several nets are mixed by `Mixture`.
        data: examples grouped by class.
        rows: rows to fit, a number or a range (low, high) drawn for each task and padded.
        query_rows: other rows of the same classes, by which a fit is judged; None judges it by the rows it was made to.
        ways: classes a task; None takes all.
        input_scale: what inputs are multiplied by, a number or a range of which each task draws one (log-uniform).
        start_scale: what the drawn parameters are multiplied by, likewise.
        seed: the stream's seed.

    Raises:
        InputError: a number out of range, or classes with too few examples for the rows asked.
    """

    metric = "loss"

    def __init__(
        self,
        net: nn.Module,
        data: ClassData,
        rows: Range = 256,
        query_rows: int | None = 64,
        ways: int | None = None,
        input_scale: Scale = 1.0,
        start_scale: Scale = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(data, seed)
        self.net, self.rows, self.query_rows = net, rows, query_rows
        self.fewest, self.most = parse_range("rows", rows)
        self.ways = len(data.classes) if ways is None else ways
        if not 2 <= self.ways <= len(data.classes):
            raise InputError(f"ways must lie in 2..{len(data.classes)}, the number of the data's classes, not {ways}")
        if query_rows is not None:
            whole("query_rows", query_rows)
        self.input_scale, self.start_scale = input_scale, start_scale
        self._input_scale = parse_scale("input_scale", input_scale)
        self._start_scale = parse_scale("start_scale", start_scale)
        self._each = -(-self.most // self.ways), -(-(query_rows or 0) // self.ways)
        fewest, needed = int(data.counts.min()), sum(self._each)
        if fewest < needed:
            raise InputError(
                f"class '{data.classes[int(data.counts.argmin())]}' has {fewest} examples but rows={rows} and "
                f"query_rows={query_rows} of {self.ways} classes need {needed}; ask for fewer rows or more classes"
            )
        initialise(net, random.key(0))
        self._starts, self._counts = data.starts.cpu(), data.counts.cpu()

    def plan(self, indices: Tensor) -> Plan:
        """Return row numbers and labels (T, S) and (T, Q), the key of the beginning, and scales (T,)."""
        keys = self.keys(indices)
        classes = random.choose(random.fold_in(keys, 1), len(self._counts), self.ways)
        class_keys = random.fold_in(random.fold_in(keys, 2).unsqueeze(1), torch.arange(self.ways, device=keys.device))
        picked = self._starts[classes].unsqueeze(-1) + random.choose(class_keys, self._counts[classes], sum(self._each))
        # Class by class in turn, so that any leading part of the rows is balanced.
        support, query = (part.mT.flatten(1) for part in torch.split(picked, list(self._each), -1))
        plan = {
            "support": support[:, : self.most].contiguous(),
            "query": query[:, : self.query_rows or 0].contiguous(),
            "key": random.fold_in(keys, 3),
            "input_scale": draw_scale(random.fold_in(keys, 4), self._input_scale),
            "start_scale": draw_scale(random.fold_in(keys, 5), self._start_scale),
        }
        if self.fewest < self.most:
            shown = self.fewest + random.below(random.fold_in(keys, 6), self.most - self.fewest + 1)
            absent = torch.arange(self.most, device=keys.device) >= shown.unsqueeze(1)
            plan["support"] = plan["support"].masked_fill(absent, -1)
        return plan

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such problems, or None."""
        parts = {"support": plan["support"], "query": plan["query"]}
        reason = refused_rows(parts, len(self.data), self.fewest < self.most)
        for name, ends in (("input_scale", self._input_scale), ("start_scale", self._start_scale)):
            reason = reason or refused_values({name: plan[name]}, *widened(ends))
        if reason is not None:
            return reason
        rows = torch.cat([*parts.values()], 1)
        columns = [torch.arange(part.shape[1], device=rows.device) % self.ways for part in parts.values()]
        classes = torch.where(rows < 0, -1, self.data.labels[rows.clamp_min(0)])
        return refused_labels(torch.cat(columns).expand_as(rows), classes)

    def gather(self, plan: Plan) -> Task:
        """Return tasks whose inputs are an `Optimizee` of (T, S, ...) and whose labels are (T, S)."""
        support = self._rows(plan, "support", self.fewest < self.most)
        start = initialise(self.net, plan["key"], plan["start_scale"])
        query = support if self.query_rows is None else self._rows(plan, "query", False)
        return Task(Problem(support.inputs, support.labels, start, support.mask), query)

    def _rows(self, plan: Plan, name: str, padded: bool) -> Examples:
        rows = plan[name]
        labels = (torch.arange(rows.shape[1], device=rows.device) % self.ways).expand(rows.shape)
        found = examples(self, rows, labels, self.ways, padded)
        scale = plan["input_scale"].reshape(-1, *(1,) * (found.inputs.ndim - 1))
        # No number of ways: all outputs of the net compete, whether or not a mini-batch shows their classes.
        return Examples(Optimizee(found.inputs * scale, self.net), labels, found.mask, check=False)

    def to(self, device: torch.device | str) -> Self:
        """Move the data, the tables and the net to a device."""
        self._starts, self._counts = self._starts.to(device), self._counts.to(device)
        self.net.to(device)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Hash of the data and of the net."""
        return fingerprint_of(self.net, self.data.fingerprint, self.ways, self.fewest, self.most, self.query_rows)

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems."""
        facts = {
            "net": type(self.net).__name__,
            "rows": [self.fewest, self.most],
            "query_rows": self.query_rows,
            "ways": self.ways,
            "input_scale": list(self._input_scale),
            "start_scale": list(self._start_scale),
        }
        return {**super().describe(), **facts}

    def __repr__(self) -> str:
        facts = ", ".join(f"{key}={value}" for key, value in self.describe().items() if key != "tasks")
        return f"Fitting({facts})"
