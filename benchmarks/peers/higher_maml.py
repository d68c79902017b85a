"""higher, as its MAML example has it: a patched copy of the net and a differentiable optimiser for each task."""

from __future__ import annotations

import higher
import torch
from torch import Tensor

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.problems import MAML


class Higher(TorchStep):
    """The outer step of a MAML problem."""

    def __init__(self, problem: MAML) -> None:
        super().__init__(problem.net)
        self.problem = problem
        self.inner = torch.optim.SGD(problem.net.parameters(), lr=problem.lr)

    def backward(self) -> Tensor:
        problem, losses = self.problem, []
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            with higher.innerloop_ctx(
                problem.net, self.inner, copy_initial_weights=False, track_higher_grads=not problem.first_order
            ) as (net, optimizer):
                for _ in range(problem.steps):
                    optimizer.step(problem.loss(net(x), y))
                loss = problem.loss(net(query_x), query_y) / len(problem.episodes)
                if problem.first_order:
                    # Untracked weights are leaves: their gradient is handed to the initial ones.
                    for p, g in zip(self.named.values(), torch.autograd.grad(loss, net.parameters()), strict=True):
                        p.grad = g if p.grad is None else p.grad + g
                else:
                    loss.backward()
                losses.append(loss.detach())
        return torch.stack(losses).sum()


def build(problem: MAML, context: Context) -> Step:
    return Higher(problem)
