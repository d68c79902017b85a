"""Quickstudy's side of reading sequences: loss along them, meta-gradient and update, all sequences at once."""

from __future__ import annotations

import torch
from torch import Tensor

import quickstudy as qs
from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.sequences import Sequences
from quickstudy.core import Examples, Task
from quickstudy.engine.hardware import SOME_STEPS, keep_pages, worth_compiling
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.objectives.sequence import sequence


class Parts(TorchStep):
    """Losses, gradient and update, put together as a user would."""

    def __init__(self, problem: Sequences, context: Context) -> None:
        keep_pages()
        self.learner = problem.learner.to(context.device, context.dtype)
        super().__init__(self.learner)
        rows = Examples(problem.inputs, problem.labels, ways=problem.ways, check=False)
        self.tasks = Task(rows, rows)
        self.keys = random.fold_in(random.key(0), torch.arange(len(problem))).to(context.device)
        self.outer = qs.outer.Gradient(lr=1e-3)
        self.optimizer = self.outer.optimizer(self.learner.named_parameters())
        # As the recipes of sequences choose: time steps are many and small.
        compile = worth_compiling(self.learner, torch.device(context.device), SOME_STEPS)
        self.meta_loss = MetaLoss(self.learner, sequence, len(problem), compile)

    def backward(self) -> Tensor:
        return self.outer.estimate(self.meta_loss, self.tasks, self.keys).mean()


def build(problem: Sequences, context: Context) -> Step:
    return Parts(problem, context)
