"""learn2learn, from its source: it no longer builds on Python 3.11, but its algorithms are pure Python."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import AbsentError, Context, Step, TorchStep
from benchmarks.peers.problems import MAML


def algorithm(checkout: str) -> Any:
    """Return the class MAML of a checkout, without the package's own imports, which need compiled parts."""
    root = Path(checkout) / "learn2learn"
    if not (root / "algorithms" / "maml.py").is_file():
        raise AbsentError(f"{checkout} is no checkout of learn2learn: learn2learn/algorithms/maml.py is not there")
    for name, folder in (("learn2learn", root), ("learn2learn.algorithms", root / "algorithms")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    from learn2learn.algorithms import maml

    return maml.MAML


class Learn2Learn(TorchStep):
    """The outer step of a MAML problem."""

    def __init__(self, problem: MAML, algorithm: Any) -> None:
        super().__init__(problem.net)
        self.problem = problem
        self.maml = algorithm(problem.net, lr=problem.lr, first_order=problem.first_order)

    def backward(self) -> Tensor:
        problem, losses = self.problem, []
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            learner = self.maml.clone()
            for _ in range(problem.steps):
                learner.adapt(problem.loss(learner(x), y))
            loss = problem.loss(learner(query_x), query_y) / len(problem.episodes)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()


def build(problem: MAML, context: Context) -> Step:
    if context.learn2learn is None:
        raise AbsentError("give a checkout of its source with --learn2learn")
    return Learn2Learn(problem, algorithm(context.learn2learn))
