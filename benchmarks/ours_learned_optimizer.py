"""Quickstudy's side of training a learned optimiser: a segment of all problems, meta-gradient and update."""

from __future__ import annotations

import torch
from torch import Tensor

import quickstudy as qs
from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.learned_optimizer import Unroll
from quickstudy.batching import Compile
from quickstudy.core import Examples, Task
from quickstudy.engine.hardware import SOME_STEPS, keep_pages, worth_compiling
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.objectives import InnerSteps
from quickstudy.problem import Optimizee, Problem


class Parts(TorchStep):
    """Losses, gradient and update, put together as a user would."""

    def __init__(self, problem: Unroll, context: Context, compile: Compile | None) -> None:
        keep_pages()
        rows, batch = problem.support[1].shape[1], problem.picked.shape[2]
        self.learner = qs.learners.L2O(problem.rule, problem.steps, batch if batch < rows else None)
        super().__init__(self.learner, "rule.")
        (x, y), (query_x, query_y) = problem.support, problem.query
        self.tasks = Task(
            Problem(Optimizee(x, problem.net), y, problem.start),
            Examples(Optimizee(query_x, problem.net), query_y, check=False),
        )
        self.keys = problem.keys
        # Loops as long as a segment: each outer step begins them anew, which the others do, too.
        self.outer = qs.outer.Truncated(problem.steps, lr=1e-3)
        self.optimizer = self.outer.optimizer(self.learner.named_parameters())
        if compile is None:
            compile = worth_compiling(self.learner, torch.device(context.device), SOME_STEPS)
        self.meta_loss = MetaLoss(self.learner, InnerSteps(), compile=compile)

    def backward(self) -> Tensor:
        return self.outer.estimate(self.meta_loss, self.tasks, self.keys).mean()


def build(problem: Unroll, context: Context, compile: Compile | None = None) -> Step:
    return Parts(problem, context, compile)
