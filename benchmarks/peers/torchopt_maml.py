"""TorchOpt, as its MAML example has it: `MetaSGD` changes the net, whose state is put back after each task."""

from __future__ import annotations

import torch
import torchopt
from torch import Tensor

from benchmarks.case import AbsentError, Context, Step, TorchStep
from benchmarks.peers.problems import MAML


class TorchOpt(TorchStep):
    """The outer step of a MAML problem."""

    def __init__(self, problem: MAML) -> None:
        super().__init__(problem.net)
        self.problem = problem
        self.inner = torchopt.MetaSGD(problem.net, lr=problem.lr)

    def backward(self) -> Tensor:
        problem, losses = self.problem, []
        net_state = torchopt.extract_state_dict(problem.net, by="reference")
        inner_state = torchopt.extract_state_dict(self.inner, by="reference")
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            for _ in range(problem.steps):
                self.inner.step(problem.loss(problem.net(x), y))
            loss = problem.loss(problem.net(query_x), query_y) / len(problem.episodes)
            losses.append(loss.detach())
            loss.backward()
            torchopt.recover_state_dict(problem.net, net_state)
            torchopt.recover_state_dict(self.inner, inner_state)
        return torch.stack(losses).sum()


def build(problem: MAML, context: Context) -> Step:
    if problem.first_order:
        raise AbsentError("its inner optimisers always keep the second order")
    return TorchOpt(problem)
