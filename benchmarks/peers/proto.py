"""Prototypical networks in plain PyTorch, task by task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.problems import Proto


class PlainProto(TorchStep):
    """The training step of a Proto problem."""

    def __init__(self, problem: Proto) -> None:
        super().__init__(problem.net)
        self.problem = problem

    def backward(self) -> Tensor:
        problem, losses = self.problem, []
        assert problem.episodes.ways is not None
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            members = F.one_hot(y, problem.episodes.ways).to(x.dtype)
            prototypes = members.T @ problem.net(x) / members.sum(0).unsqueeze(1)
            distances = (problem.net(query_x).unsqueeze(1) - prototypes).square().sum(-1)
            loss = F.cross_entropy(-distances, query_y) / len(problem.episodes)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()


def build(problem: Proto, context: Context) -> Step:
    return PlainProto(problem)
