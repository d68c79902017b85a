"""Quickstudy's side of drawing episodes: `tasks.FewShot.draw`, a meta-batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

import quickstudy as qs
from benchmarks.case import Context, Step
from benchmarks.peers.images import Images, facts
from quickstudy.engine.hardware import keep_pages


class Sampling(Step):
    """Draws episodes, each time the next ones of the stream."""

    def __init__(self, problem: Images, context: Context) -> None:
        keep_pages()
        data = qs.datasets.arrays(problem.images, problem.labels)
        self.tasks = qs.tasks.FewShot(data, problem.ways, problem.shots, problem.queries).to(context.device)
        self.problem, self.next = problem, 0

    def draw(self) -> qs.Task:
        batch = self.tasks.draw(torch.arange(self.next, self.next + self.problem.at_once))
        self.next += self.problem.at_once
        return batch

    def step(self) -> None:
        for _ in range(self.problem.episodes // self.problem.at_once):
            self.draw()

    def check(self) -> dict[str, Tensor]:
        episodes = []
        for _ in range(self.problem.episodes // self.problem.at_once):
            batch = self.draw()
            rows = zip(
                batch.support.inputs.cpu(),
                batch.support.labels.cpu(),
                batch.query.inputs.cpu(),
                batch.query.labels.cpu(),
                strict=True,
            )
            episodes += [facts(*each) for each in rows]
        return {"every episode": torch.stack(episodes)}


def build(problem: Images, context: Context) -> Step:
    return Sampling(problem, context)
