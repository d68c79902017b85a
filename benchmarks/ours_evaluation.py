"""Quickstudy's side of evaluation: `evaluate`, as it is called after meta-training."""

from __future__ import annotations

import typing

import torch
from torch import Tensor

import quickstudy as qs
from benchmarks.case import AbsentError, Context, Step
from benchmarks.peers.images import Evaluation, bank_rows
from quickstudy.engine.hardware import keep_pages
from quickstudy.operators.calls import BatchNormPolicy


class Evaluate(Step):
    """Evaluates a prototypical network on episodes."""

    def __init__(self, problem: Evaluation, context: Context, policy: str) -> None:
        keep_pages()
        assert problem.net is not None
        self.learner = qs.learners.ProtoNet(problem.net, batch_norm=policy).to(context.device, context.dtype)
        self.problem = problem
        self.tasks, self.bank = bank_rows(problem)

    def step(self) -> None:
        qs.evaluate(self.learner, self.tasks, self.problem.episodes)

    def check(self) -> dict[str, Tensor]:
        report = qs.evaluate(self.learner, self.bank, self.problem.episodes)
        return {"accuracy": torch.tensor(report.accuracy, dtype=torch.float64)}


def build(problem: Evaluation, context: Context, policy: str = "frozen") -> Step:
    if policy not in typing.get_args(BatchNormPolicy):
        raise AbsentError(f"this version has no batch norm policy '{policy}'")
    return Evaluate(problem, context, policy)
