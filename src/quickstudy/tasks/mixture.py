"""In which order tasks of several kinds are practised: interleaved, blocked, or as a curriculum.

People learn differently from blocked and interleaved practice (Rohrer 2012), and from easy-to-hard orders (Bengio et
al. 2009, "Curriculum Learning"); so may meta-learners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor

from quickstudy.core import Task
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.numbers import shown, whole
from quickstudy.operators import trees
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution, shifted
from quickstudy.tasks.data.few_shot import FewShot, parse_range
from quickstudy.tasks.plans import refused_values

Order = Literal["interleaved", "blocked", "curriculum"]


@register("tasks")
class Mixture(TaskDistribution):
    """A stream whose tasks come from several distributions.

    Parts whose tasks differ in structure, such as problems of different nets or rows of different sizes that
    `Attributes` does not pad, cannot share a batch: they are drawn in blocks, and every batch must lie within one
    (`uniform` is False). Make `block` the meta-batch.

    Args:
        parts: the distributions; for a curriculum, the easiest first.
        order: 'interleaved' draws a part for each task; 'blocked' stays with one part for `block` tasks; 'curriculum'
            draws among the first parts only, one more every `block` tasks until all take part.
        block: tasks a block, or a curriculum's stage.
        seed: the stream's seed.

    Raises:
        InputError: no part; parts whose tasks differ in shape, unless they are blocked; in `gather`, tasks of several
            parts of different structure.
    """

    def __init__(
        self, parts: Sequence[TaskDistribution], order: Order = "interleaved", block: int = 1000, seed: int = 0
    ) -> None:
        super().__init__(seed)
        for part in [*parts] if isinstance(parts, Sequence) else [parts]:
            if not isinstance(part, TaskDistribution):
                raise InputError(f"parts must be task distributions, such as tasks.FewShot(data), not {shown(part)}")
        if not parts:
            raise InputError("parts is empty; give at least one task distribution")
        if order not in ("interleaved", "blocked", "curriculum"):
            raise unknown_name("order", order, ("interleaved", "blocked", "curriculum"))
        block = whole("block", block)
        if not all(part.uniform for part in parts):
            raise InputError("a part is itself a mixture of unlike tasks; give its parts to this mixture instead")
        self.parts, self.order, self.block = list(parts), order, block
        self.name = "+".join(dict.fromkeys(part.name for part in parts))
        self.metric = parts[0].metric
        plans = [part.plan(torch.zeros(1).long()) for part in parts]
        shapes = [{name: tuple(value.shape) for name, value in plan.items()} for plan in plans]
        alike = all(shape == shapes[0] for shape in shapes)
        self.uniform = all(
            _structure(part.gather(plan)) == _structure(parts[0].gather(plans[0]))
            for part, plan in zip(parts[1:], plans[1:], strict=True)
        )
        if not self.uniform and order != "blocked":
            raise InputError(
                f"parts draw tasks of different shapes or nets: {shapes}; give them the same ways, shots, queries, pad "
                "their inputs and ways (tasks.Attributes), or take order='blocked' with block= the tasks a meta-batch"
            )
        # Parts of unlike plans share the columns that are alike, so that a bank stays small.
        self._columns = [
            {name: name if alike else f"{name} {value.dtype} {tuple(value.shape[1:])}" for name, value in plan.items()}
            for plan in plans
        ]
        self._empty = {
            column: plan[name][0]
            for plan, columns in zip(plans, self._columns, strict=True)
            for name, column in columns.items()
        }

    def part_of(self, indices: Tensor) -> Tensor:
        """Return which part each task of the stream comes from."""
        count = len(self.parts)
        if self.order == "blocked":
            # Blocks go round in a random order that changes from round to round.
            block = indices // self.block
            rounds = random.permutation(random.fold_in(random.key(self.seed, self.device), block // count), count)
            return rounds.gather(1, (block % count).unsqueeze(1)).squeeze(1)
        reach: Tensor | int = count
        if self.order == "curriculum":
            reach = (1 + indices // self.block).clamp_max(count)
        return random.below(self.keys(indices), reach)

    def plan(self, indices: Tensor) -> Plan:
        """Return the parts' plans, and the part that each task comes from. Columns that a part lacks are zero."""
        which = self.part_of(indices)
        # The task's index in its part's own stream is its index here, under this mixture's seed.
        own = indices + shifted(self.seed)
        mixed: Plan = {
            name: torch.zeros(len(which), *value.shape, dtype=value.dtype, device=which.device)
            for name, value in self._empty.items()
        }
        for number, part in enumerate(self.parts):
            rows = (which == number).nonzero().squeeze(1)
            # Only the tasks that are this part's: with many parts most have none in a meta-batch.
            if len(rows):
                for name, value in part.plan(own[rows]).items():
                    mixed[self._columns[number][name]][rows] = value
        return {**mixed, "part": which}

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no tasks of these parts, or None."""
        which = plan["part"]
        reason = refused_values({"part": which}, 0, len(self.parts) - 1)
        for number, part in enumerate(self.parts):
            if reason is None and bool((which == number).any()):
                columns = self._columns[number].items()
                reason = part.refuses({name: plan[column][which == number] for name, column in columns})
        return reason

    def gather(self, plan: Plan) -> Task:
        """Return tasks, each from its part."""
        from quickstudy.batching import select, stack

        which = plan["part"]
        present = torch.unique(which).tolist()
        if len(present) > 1 and not self.uniform:
            raise InputError(
                f"tasks of parts {present} differ in structure and cannot be one batch; take as many tasks a "
                f"meta-batch as a block has ({self.block}), or a divisor of it, or batch each of `runs`"
            )
        drawn: dict[int, Task] = {
            number: self.parts[number].gather(
                {name: plan[column][which == number] for name, column in self._columns[number].items()}
            )
            for number in present
        }
        if len(present) == 1:
            return next(iter(drawn.values()))
        singles: list[Any] = [None] * len(which)
        for number, tasks in drawn.items():
            for place, row in enumerate((which == number).nonzero().squeeze(1).tolist()):
                singles[row] = select(tasks, place)
        return stack(singles)  # type: ignore[no-any-return]

    def kinds(self, plan: Plan) -> Tensor:
        """Return the part of each task of a plan, or one number where all can be batched."""
        return super().kinds(plan) if self.uniform else plan["part"]

    def to(self, device: torch.device | str) -> Self:
        """Move all parts."""
        for part in self.parts:
            part.to(device)
        return super().to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all parts' classes."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.classes))

    @property
    def fingerprint(self) -> str:
        """The parts' fingerprints."""
        return "-".join(part.fingerprint for part in self.parts)

    def describe(self) -> dict[str, Any]:
        """Return facts about the stream."""
        return {
            **super().describe(),
            "order": self.order,
            "block": self.block,
            "parts": [part.describe() for part in self.parts],
        }


def _structure(task: Task) -> tuple[Any, ...]:
    """Return what tasks of one batch have in common."""
    leaves, form = trees.flatten(task)
    return form, [(leaf.shape, leaf.dtype) for leaf in leaves]


def by_group(
    data: ClassData, attribute: str, order: Order, block: int = 1000, seed: int = 0, **few_shot: Any
) -> Mixture:
    """Return few-shot tasks whose classes come from one group each, in a chosen order of groups.

    Args:
        data: examples grouped by class.
        attribute: what groups them, such as 'alphabet'.
        order: 'interleaved', 'blocked' or 'curriculum' (largest groups, whose classes differ most, first).
        block: tasks a block or stage.
        seed: the stream's seed.
        few_shot: further arguments of `FewShot`; groups with too few classes are left out.
    """
    groups = data.groups(attribute)
    ways = few_shot.get("ways", 5)
    if isinstance(ways, str):
        raise InputError(f"ways='{ways}': the parts of a mixture have the same ways; give a number or a range")
    needed = parse_range("ways", ways)[1]
    usable = sorted(
        (name for name in groups if len(groups[name]) >= needed), key=lambda name: (-len(groups[name]), name)
    )
    return Mixture([FewShot(data.subset(groups[name]), **few_shot) for name in usable], order, block, seed)
