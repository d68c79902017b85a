"""Classification with more than one right answer: which side of a line, whose direction few points leave open."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution


@register("tasks")
class HalfPlanes(TaskDistribution):
    """Two classes of points of the plane, on the two sides of a line through the origin.

    label = [cos(a) x_1 + sin(a) x_2 > 0] with the angle a uniform in [0, 2 pi) and x standard normal. A support of K
    points a class leaves an arc of angles open, all as likely; the share of the arc that puts a query on the side of
    class 1 is its true probability (`exact`). Where the arc's lines run, no single answer is right.

    Args:
        shots: support points a class, K.
        queries: query points a task, of any class.
        seed: the stream's seed.

    Raises:
        InputError: a number that is not positive.
    """

    name = "half-planes"
    metric = "accuracy"

    def __init__(self, shots: int = 1, queries: int = 20, seed: int = 0) -> None:
        super().__init__(seed)
        if min(shots, queries) < 1:
            raise InputError(f"{shots=} and {queries=} must be positive")
        self.shots, self.queries = shots, queries

    def plan(self, indices: Tensor) -> Plan:
        """Draw each task's angle and points."""
        keys = self.keys(indices)
        return {
            "angle": 2 * math.pi * random.uniform(random.fold_in(keys, 1)),
            "x": random.normal(random.fold_in(keys, 2), 2 * self.shots + self.queries, 2),
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, 2) and labels (T, S), the support's K of class 0 first."""
        x, angle = plan["x"], plan["angle"]
        normal = torch.stack([angle.cos(), angle.sin()], -1)
        side = ((x * normal.unsqueeze(1)).sum(-1) > 0).long()
        count = 2 * self.shots
        wanted = (torch.arange(count, device=x.device) >= self.shots).long().expand(len(x), -1)
        # A point on the wrong side is mirrored: that of the right side is as likely.
        support = torch.where((side[:, :count] == wanted).unsqueeze(-1), x[:, :count], -x[:, :count])
        return Task(
            Examples(support, wanted, ways=2, check=False), Examples(x[:, count:], side[:, count:], ways=2, check=False)
        )

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "shots": self.shots, "queries": self.queries}

    def __repr__(self) -> str:
        return f"HalfPlanes(shots={self.shots}, queries={self.queries})"


class OpenArc(NamedTuple):
    """Angles that a support leaves open: `middle + low` to `middle + high`."""

    middle: Tensor
    low: Tensor
    high: Tensor


def open_arc(support: Examples) -> OpenArc:
    """Return the open arc of one task; a support row leaves a half circle open, the support what all have in common."""
    x = torch.where(support.labels.unsqueeze(1) == 1, support.inputs, -support.inputs)
    angles = torch.atan2(x[:, 1], x[:, 0])
    middle = angles[0]
    apart = _wrapped(angles - middle)
    return OpenArc(middle, apart.amax() - math.pi / 2, apart.amin() + math.pi / 2)


def exact(arc: OpenArc, inputs: Tensor) -> Tensor:
    """Return (Q,) the true probability of class 1 at inputs (Q, 2): the share of the open arc that puts them there."""
    apart = _wrapped(torch.atan2(inputs[:, 1], inputs[:, 0]) - arc.middle)
    low = torch.maximum(arc.low, apart - math.pi / 2)
    high = torch.minimum(arc.high, apart + math.pi / 2)
    return (high - low).clamp_min(0) / (arc.high - arc.low)


def _wrapped(angles: Tensor) -> Tensor:
    """Return angles in [-pi, pi)."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
