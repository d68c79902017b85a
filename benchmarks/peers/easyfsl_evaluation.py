"""easyfsl's `evaluate`, with its TaskSampler and DataLoader."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.case import Context, Step
from benchmarks.peers.easyfsl_parts import InMemory, PrototypicalNetworks, TaskSampler, evaluate, loader
from benchmarks.peers.images import Evaluation, bank_rows


class Listed(TaskSampler):  # type: ignore[misc]
    """The same episodes as somebody else's, for comparison."""

    rows: list[list[int]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.rows)


class EasyFSL(Step):
    """Evaluates a prototypical network on episodes. Images are kept as floats, so that items cost no conversion."""

    def __init__(self, problem: Evaluation, context: Context, workers: int) -> None:
        assert problem.net is not None
        self.problem, self.context = problem, context
        self.classifier = PrototypicalNetworks(problem.net).to(context.device)
        images = problem.images.to(context.dtype) / 255
        self.data = InMemory(images, problem.labels.tolist(), lambda image: image)
        self.shape = (problem.ways, problem.shots, problem.queries, problem.episodes)
        self.loader = loader(self.data, TaskSampler(self.data, *self.shape), workers)

    def step(self) -> None:
        evaluate(self.classifier, self.loader, device=self.context.device, use_tqdm=False)

    def check(self) -> dict[str, Tensor]:
        _, bank = bank_rows(self.problem)
        plan = bank.plan(torch.arange(self.problem.episodes))
        sampler = Listed(self.data, *self.shape)
        # Way by way, support first, is the order in which easyfsl's sampler gives rows.
        sampler.rows = torch.cat([plan["support"], plan["query"]], 1).mT.flatten(1).tolist()
        same = loader(self.data, sampler)
        accuracy = evaluate(self.classifier, same, device=self.context.device, use_tqdm=False)
        return {"accuracy": torch.tensor(accuracy, dtype=torch.float64)}


def build(problem: Evaluation, context: Context, workers: int = 0) -> Step:
    return EasyFSL(problem, context, workers)
