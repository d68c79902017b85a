"""Tasks with different numbers of inputs and classes in one batch: each input an attribute that a task has or lacks.

Iwata & Kumagai 2020, "Meta-learning from Tasks with Heterogeneous Attribute Spaces": a learner meets tasks whose
attributes it has never seen. Here one table gives many such tasks, by random subsets of its attributes.
"""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.numbers import whole
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution, shifted
from quickstudy.tasks.data.few_shot import Range, parse_range
from quickstudy.tasks.plans import refused_rows

OUTLIER = 5.0
"""Standardised values are cut here: the deviation of a few rows may be far too small for the others."""


@register("tasks")
class Attributes(TaskDistribution):
    """Tasks whose rows are padded to D attributes and N ways, so that unlike tasks share a batch.

    Inputs become (S, D, 2): the values of attributes, and whether the task has each; both are zero where it has not.
    `learners.AttributeSets` reads that. Flattened, the columns that pad are the same in all rows of a task, so they
    change nothing for learners that compare rows. Classes that the task lacks have no row (`Examples.mask`).

    Several of these, of other data, make a `Mixture`.

    Args:
        source: tasks with inputs (S, d).
        slots: D.
        attributes: how many of the d each task has, a number or a range (low, high), drawn in a random order; as many
            as there are where d is less. None for all d, in their order.
        ways: N; None for the source's own.
        standardise: shift and scale each attribute by the mean and deviation of the task's support rows; one that is
            constant there becomes zero.
        seed: the stream's seed.

    Raises:
        InputError: inputs are not (S, d), attributes do not fit into the slots, or classes not into the ways.
    """

    def __init__(
        self,
        source: TaskDistribution,
        slots: int,
        attributes: Range | None = None,
        ways: int | None = None,
        standardise: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        slots, ways = whole("slots", slots), None if ways is None else whole("ways", ways)
        one = source.batch(0, 1).support
        if source.sequential or not source.uniform or not isinstance(one.inputs, Tensor) or one.inputs.ndim != 3:
            raise InputError(f"{source.name} draws no batches of inputs (T, S, d); wrap each part of a mixture alone")
        self.source, self.slots, self.ways, self.standardise = source, slots, ways, standardise
        self.name, self.metric, self.own = source.name, source.metric, one.inputs.shape[2]
        self.range = (self.own, self.own) if attributes is None else parse_range("attributes", attributes)
        self.shuffled = attributes is not None
        if self.range[1] > slots or self.range[0] > self.own:
            raise InputError(
                f"attributes={self.range} of {self.own} do not fit into slots={slots}: give more slots, or attributes= "
                "a range within both"
            )
        if ways is not None and (one.ways is None or one.ways > ways):
            raise InputError(f"the source's tasks have {one.ways} ways, which ways={ways} cannot pad")

    def plan(self, indices: Tensor) -> Plan:
        """Return the source's plan and the column of each slot (T, D), -1 for none."""
        # As in mixtures, a stream of the source of its own for each seed.
        plan = {f"source.{name}": value for name, value in self.source.plan(indices + shifted(self.seed)).items()}
        keys, slots = self.keys(indices), torch.arange(self.slots, device=indices.device)
        low, high = self.range[0], min(self.range[1], self.own)
        count = low + random.below(random.fold_in(keys, 1), high - low + 1)
        if self.shuffled:
            columns = random.choose(random.fold_in(keys, 2), torch.full_like(count, self.own), self.slots)
        else:
            columns = slots.expand(len(indices), -1)
        return {**plan, "columns": torch.where(slots < count.unsqueeze(1), columns, -1)}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such tasks, or None."""
        columns = plan["columns"]
        reason = refused_rows({"attributes": columns}, self.own)
        return reason or self.source.refuses({n[7:]: value for n, value in plan.items() if n.startswith("source.")})

    def gather(self, plan: Plan) -> Task:
        """Return the batch of tasks of a plan."""
        task = self.source.gather({name[7:]: value for name, value in plan.items() if name.startswith("source.")})
        columns = plan["columns"].unsqueeze(1)
        parts = []
        for rows in (task.support, task.query):
            index = columns.clamp_min(0).expand(-1, rows.inputs.shape[1], -1)
            parts.append(torch.where(columns < 0, 0.0, rows.inputs.gather(2, index)))
        if self.standardise:
            parts = _standardised(parts, task.support.mask)
        support, query = (torch.stack([x, (columns >= 0).to(x.dtype).expand_as(x)], -1) for x in parts)
        return Task(self._padded(support, task.support), self._padded(query, task.query))

    def _padded(self, inputs: Tensor, rows: Examples) -> Examples:
        """Return as many rows per class as there are, for all ways."""
        if self.ways is None or rows.ways is None:
            return Examples(inputs, rows.labels, rows.mask, rows.ways, check=False)
        more = rows.labels.shape[1] // rows.ways * self.ways - rows.labels.shape[1]
        mask = torch.ones_like(rows.labels, dtype=torch.bool) if rows.mask is None else rows.mask
        # Padding repeats a real row of the task, so that batch statistics over all rows stay sensible.
        return Examples(
            torch.cat([inputs, inputs[:, :1].expand(-1, more, -1, -1)], 1),
            F.pad(rows.labels, (0, more)),
            F.pad(mask, (0, more)),
            self.ways,
            check=False,
        )

    def to(self, device: torch.device | str) -> Self:
        """Move the source."""
        self.source.to(device)
        return super().to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the source's classes."""
        return self.source.classes

    @property
    def fingerprint(self) -> str:
        """The source's."""
        return self.source.fingerprint

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        own = {"slots": self.slots, "attributes": list(self.range), "standardise": self.standardise}
        return {**super().describe(), **own, "source": self.source.describe()}


def _standardised(parts: list[Tensor], mask: Tensor | None) -> list[Tensor]:
    """Return rows (T, S, D) of support and query, standardised by the support rows that count."""
    support = parts[0]
    weights = torch.ones_like(support[..., :1]) if mask is None else mask.unsqueeze(-1).to(support.dtype)
    count = weights.sum(1, keepdim=True).clamp_min(1)
    mean = (weights * support).sum(1, keepdim=True) / count
    deviation = ((weights * (support - mean).square()).sum(1, keepdim=True) / count).sqrt()
    constant = deviation <= 1e-6 * mean.abs().clamp_min(1e-6)
    scaled = [(x - mean) / torch.where(constant, 1.0, deviation) for x in parts]
    return [torch.where(constant, 0.0, x).clamp(-OUTLIER, OUTLIER) for x in scaled]
