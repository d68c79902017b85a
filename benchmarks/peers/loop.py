"""Plain PyTorch, task by task: `torch.func.functional_call` and `torch.autograd.grad`, as one writes it by hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.problems import MAML


class Loop(TorchStep):
    """The outer step of a MAML problem."""

    def __init__(self, problem: MAML) -> None:
        super().__init__(problem.net)
        self.problem = problem

    def backward(self) -> Tensor:
        problem = self.problem
        total = torch.zeros((), dtype=problem.episodes.support[0].dtype, device=problem.episodes.support[0].device)
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            weights: dict[str, Tensor] = dict(self.named)
            for _ in range(problem.steps):
                loss = problem.loss(functional_call(problem.net, weights, (x,)), y)
                grads = torch.autograd.grad(loss, list(weights.values()), create_graph=not problem.first_order)
                pairs = zip(weights.items(), grads, strict=True)
                weights = {name: value - problem.lr * g for (name, value), g in pairs}
            loss = problem.loss(functional_call(problem.net, weights, (query_x,)), query_y) / len(problem.episodes)
            loss.backward()
            total += loss.detach()
        return total


def build(problem: MAML, context: Context) -> Step:
    return Loop(problem)
