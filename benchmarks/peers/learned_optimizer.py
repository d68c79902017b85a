"""Training of a learned optimiser in plain PyTorch: unrolled steps, `nn.LSTMCell` over coordinates, one backward pass.

As people write it, problem after problem, and as it is fastest by hand: all problems' nets written out with `baddbmm`,
and the coordinates of all problems rows of one call of each cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.problems import Rows
from quickstudy.rules import LSTMRule


@dataclass
class Unroll:
    """A training step of an LSTM that moves coordinates: few steps on each problem from its start.

    The problem's gradients are constants (first order). Judged is the mean loss on the query after each step.
    """

    rule: LSTMRule
    """The initial weights, and the sizes."""
    net: nn.Sequential
    """Linear layers and what lies between them: the problems' net."""
    start: dict[str, Tensor]
    """(T, ...) parameters of the net, by name."""
    support: Rows
    """(T, S, ...)"""
    query: Rows
    """(T, Q, ...)"""
    keys: Tensor
    """(T,) by which Quickstudy draws mini-batches."""
    picked: Tensor
    """(T, steps, B): those mini-batches."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def steps(self) -> int:
        return self.picked.shape[1]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of rows: cross-entropy, or squared error for targets."""
        return F.mse_loss(outputs, labels) if labels.dtype.is_floating_point else F.cross_entropy(outputs, labels)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(theta, inputs, labels) -> loss that is summed over problems."""


class Rule(nn.Module):
    """The coordinate-wise LSTM (Andrychowicz et al. 2016)."""

    def __init__(self, rule: LSTMRule) -> None:
        super().__init__()
        self.p, self.scale, self.hidden = rule.p, rule.scale, rule.head.in_features
        self.cells = nn.ModuleList(nn.LSTMCell(c.weight_ih.shape[1], self.hidden) for c in rule.cells)
        self.head = nn.Linear(self.hidden, 1)
        self.load_state_dict(rule.state_dict())

    def forward(self, grad: Tensor, theta: Tensor, states: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return theta (any shape) after a step, and put the new states into the list."""
        grad = grad.flatten()
        large = grad.abs() >= math.exp(-self.p)
        logs = grad.abs().clamp_min(math.exp(-self.p)).log() / self.p
        x = torch.stack([torch.where(large, logs, -1), torch.where(large, grad.sign(), math.exp(self.p) * grad)], 1)
        for i, cell in enumerate(self.cells):
            states[i] = cell(x, states[i])
            x = states[i][0]
        return theta + self.scale * self.head(x).view_as(theta)


class Plain(TorchStep):
    """What both ways share."""

    def __init__(self, problem: Unroll, context: Context) -> None:
        self.problem, self.rule = problem, Rule(problem.rule).to(context.device, context.dtype)
        self.sizes = [value[0].numel() for value in problem.start.values()]
        self.starts = torch.cat([value.flatten(1) for value in problem.start.values()], 1)  # (T, coordinates)
        super().__init__(self.rule)

    def unroll(self, theta: Tensor, support: Rows, query: Rows, picked: Callable[[int], tuple], loss: Loss) -> Tensor:
        """Return the mean loss along the unrolled steps."""
        zeros = theta.new_zeros(theta.numel(), self.rule.hidden)
        states, total = [(zeros, zeros) for _ in self.rule.cells], theta.new_zeros(())
        for step in range(self.problem.steps):
            at, rows = theta.detach().requires_grad_(), picked(step)
            (grad,) = torch.autograd.grad(loss(at, support[0][rows], support[1][rows]), at)
            theta = self.rule(grad, theta, states)
            total = total + loss(theta, *query)
        return total / self.problem.steps


class Loop(Plain):
    """Problem after problem."""

    def loss(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one problem, theta (coordinates,)."""
        parts = zip(self.problem.start.items(), theta.split(self.sizes), strict=True)
        named = {name: part.view_as(value[0]) for (name, value), part in parts}
        return self.problem.loss(functional_call(self.problem.net, named, (inputs,)), labels)

    def backward(self) -> Tensor:
        problem, total = self.problem, torch.zeros((), dtype=self.starts.dtype, device=self.starts.device)
        for start, x, y, query_x, query_y, picked in zip(
            self.starts, *problem.support, *problem.query, problem.picked, strict=True
        ):
            loss = self.unroll(start, (x, y), (query_x, query_y), lambda step, p=picked: (p[step],), self.loss)
            (loss / len(problem)).backward()
            total += loss.detach() / len(problem)
        return total


class Batched(Plain):
    """All problems at once."""

    def loss(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the losses of all problems, theta (T, coordinates)."""
        values = iter(theta.split(self.sizes, 1))
        for layer in self.problem.net:
            if isinstance(layer, nn.Linear):
                weight = next(values).unflatten(1, layer.weight.shape).mT
                products = layer.bias is None
                inputs = inputs @ weight if products else torch.baddbmm(next(values).unsqueeze(1), inputs, weight)
            else:
                inputs = layer(inputs)
        # As many rows each: the mean over all is the mean over problems.
        return self.problem.loss(inputs.flatten(0, 1), labels.flatten(0, 1)) * len(self.problem)

    def backward(self) -> Tensor:
        problem, all_tasks = self.problem, torch.arange(len(self.problem), device=self.starts.device).unsqueeze(1)
        loss = self.unroll(
            self.starts, problem.support, problem.query, lambda step: (all_tasks, problem.picked[:, step]), self.loss
        ) / len(problem)
        loss.backward()
        return loss.detach()


def build(problem: Unroll, context: Context, how: Literal["loop", "batched"]) -> Step:
    return (Loop if how == "loop" else Batched)(problem, context)
