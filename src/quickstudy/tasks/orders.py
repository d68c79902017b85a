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
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.few_shot import FewShot

Order = Literal["interleaved", "blocked", "curriculum"]


@register("tasks")
class Mixture(TaskDistribution):
    """A stream whose tasks come from several distributions with the same shapes.

    Args:
        parts: the distributions; for a curriculum, the easiest first.
        order: 'interleaved' draws a part for each task; 'blocked' stays with one part for `block` tasks; 'curriculum'
            draws among the first parts only, one more every `block` tasks until all take part.
        block: tasks a block, or a curriculum's stage.
        seed: the stream's seed.

    Raises:
        InputError: no part, or parts whose tasks differ in shape.
    """

    def __init__(
        self, parts: Sequence[TaskDistribution], order: Order = "interleaved", block: int = 1000, seed: int = 0
    ) -> None:
        super().__init__(seed)
        if not parts:
            raise InputError("parts is empty; give at least one task distribution")
        if order not in ("interleaved", "blocked", "curriculum"):
            raise unknown_name("order", order, ("interleaved", "blocked", "curriculum"))
        if block < 1:
            raise InputError(f"block must be at least 1, not {block}")
        self.parts, self.order, self.block = list(parts), order, block
        self.name = "+".join(dict.fromkeys(part.name for part in parts))
        self.metric = parts[0].metric
        shapes = [{k: tuple(v.shape) for k, v in part.plan(torch.zeros(1).long()).items()} for part in parts]
        if any(shape != shapes[0] for shape in shapes):
            raise InputError(f"parts draw tasks of different shapes: {shapes}; give them the same ways, shots, queries")

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
        """Return the parts' plans, and which part each task is of."""
        which = self.part_of(indices)
        # The task's index in its part's own stream is its index here, under this mixture's seed.
        own = indices + (self.seed << 32)
        mixed: Plan = {}
        for number, part in enumerate(self.parts):
            rows = (which == number).nonzero().squeeze(1)
            # Only the tasks that are this part's: with many parts most have none in a meta-batch.
            if len(rows) or number == 0:
                for name, value in part.plan(own[rows]).items():
                    mixed.setdefault(name, value.new_empty(len(which), *value.shape[1:]))[rows] = value
        return {**mixed, "part": which}

    def gather(self, plan: Plan) -> Task:
        """Return tasks, each from its part."""
        from quickstudy.batching import select, stack

        which = plan["part"]
        rest = {name: value for name, value in plan.items() if name != "part"}
        singles: list[Any] = [None] * len(which)
        for number, part in enumerate(self.parts):
            rows = (which == number).nonzero().squeeze(1)
            if len(rows):
                tasks = part.gather({name: value[rows] for name, value in rest.items()})
                for place, row in enumerate(rows.tolist()):
                    singles[row] = select(tasks, place)
        return stack(singles)  # type: ignore[no-any-return]

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
    needed = ways if isinstance(ways, int) else ways[1]
    usable = sorted(
        (name for name in groups if len(groups[name]) >= needed), key=lambda name: (-len(groups[name]), name)
    )
    return Mixture([FewShot(data.subset(groups[name]), **few_shot) for name in usable], order, block, seed)
