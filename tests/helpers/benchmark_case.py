"""A case for tests of the benchmark: least squares, by several implementations, of which some misbehave."""

import os

import torch
from benchmarks.case import AbsentError, Case, Implementation, TorchStep


def problem(setting, context):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, generator=random).to(context.dtype)
    return x, x @ torch.tensor([1.0, -2.0, 3.0], dtype=context.dtype), setting["tasks"]


class Fit(TorchStep):
    def __init__(self, problem, context, factor=1.0):
        self.x, self.y, self.tasks = problem
        self.factor = factor
        super().__init__(torch.nn.ParameterDict({"w": torch.nn.Parameter(torch.zeros(3, dtype=context.dtype))}))

    def backward(self):
        loss = (self.x @ self.named["w"] - self.y).square().mean()
        (self.factor * loss).backward()
        return loss


def absent(problem, context):
    raise AbsentError("not today")


def dies(problem, context):
    os._exit(7)


def fails(problem, context):
    raise ValueError("bad weather")


CASE = Case(
    title="Least squares",
    unit="outer step",
    problem=problem,
    settings=({"tasks": 4},),
    quick=({"tasks": 1},),
    implementations={
        "reference": Implementation(Fit),
        "quickstudy": Implementation(Fit, ours=True),
        "wrong": Implementation(Fit, {"factor": 1.001}),
        "absent": Implementation(absent),
        "dies": Implementation(dies),
        "fails": Implementation(fails),
    },
)
