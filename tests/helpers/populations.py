"""A learner of which every loss is known: its parameters are a point, and each task a function of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.core import Examples, Learner, Task
from quickstudy.functional import random

DIMENSIONS = 4
TASKS = 3


class Point(Learner):
    """Learns a point of two parts, beside a frozen one; it adapts to nothing and predicts itself."""

    def __init__(self, size: int = DIMENSIONS) -> None:
        super().__init__()
        self.head = nn.Parameter(torch.linspace(-0.5, 0.5, size)[:1])
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.tail = nn.Parameter(torch.linspace(-0.5, 0.5, size)[1:])

    def adapt(self, support: Examples) -> Tensor:
        return torch.cat([self.head, self.tail])

    def predict(self, state: Tensor, inputs: Tensor) -> Tensor:
        return state.expand(len(inputs), -1)


def point(learner: Point) -> Tensor:
    return torch.cat([learner.head, learner.tail]).detach()


def gradient(learner: Point) -> Tensor:
    assert learner.frozen.grad is None
    return torch.cat([learner.head.grad, learner.tail.grad])


def batch(size: int = DIMENSIONS, tasks: int = TASKS) -> tuple[Task, Tensor]:
    """Return tasks whose query is one row of numbers, and their keys."""
    rows = random.normal(random.fold_in(random.key(5), torch.arange(tasks)), 1, size).to(torch.get_default_dtype())
    examples = Examples(rows, rows, check=False)
    return Task(examples, examples), random.fold_in(random.key(6), torch.arange(tasks))


def linear(learner: Any, task: Task, key: Tensor) -> Tensor:
    return (learner.adapt(task.support) * task.query.inputs[0]).sum()


def quadratic(learner: Any, task: Task, key: Tensor) -> Tensor:
    return (learner.adapt(task.support) - task.query.inputs[0]).square().sum()


class Steep(qs.tasks.base.TaskDistribution):
    """Tasks that are all alike but for a little noise in their minimum."""

    name = "steep"
    metric = "mse"

    def plan(self, indices: Tensor) -> Any:
        return {"minimum": 1 + 0.001 * random.normal(self.keys(indices), 1, DIMENSIONS)}

    def gather(self, plan: Any) -> Task:
        rows = plan["minimum"].to(torch.get_default_dtype())
        examples = Examples(rows, rows, check=False)
        return Task(examples, examples)


def ill_conditioned(learner: Any, task: Task, key: Tensor) -> Tensor:
    """Return a quadratic whose curvatures span five orders of magnitude, turned so that no axis is special."""
    size = task.query.inputs.shape[-1]
    place = torch.arange(size, dtype=task.query.inputs.dtype)
    # An orthogonal matrix: the discrete cosine transform.
    turn = torch.cos(torch.pi * (place + 0.5) * place.unsqueeze(1) / size) * (2 / size) ** 0.5
    turn = torch.cat([turn[:1] / 2**0.5, turn[1:]])
    away = turn @ (learner.adapt(task.support) - task.query.inputs[0])
    return (10.0 ** (5 * place / (size - 1)) * away.square()).sum()
