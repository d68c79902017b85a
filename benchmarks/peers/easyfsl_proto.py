"""easyfsl's prototypical networks, trained as in its notebook on episodic training.

Its scores are minus the Euclidean distance; the paper's are minus the squared one, as here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.easyfsl_parts import PrototypicalNetworks
from benchmarks.peers.problems import Proto


class Squared(PrototypicalNetworks):  # type: ignore[misc]
    """Scores as in Snell et al. 2017, equation 2."""

    def l2_distance_to_prototypes(self, samples: Tensor) -> Tensor:
        return -super().l2_distance_to_prototypes(samples).square()


class EasyFSL(TorchStep):
    """The training step of a Proto problem."""

    def __init__(self, problem: Proto) -> None:
        super().__init__(problem.net)
        self.problem = problem
        self.classifier = Squared(problem.net)

    def backward(self) -> Tensor:
        problem, losses = self.problem, []
        for (x, y), (query_x, query_y) in problem.episodes.tasks():
            self.classifier.process_support_set(x, y)
            loss = F.cross_entropy(self.classifier(query_x), query_y) / len(problem.episodes)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()


def build(problem: Proto, context: Context) -> Step:
    return EasyFSL(problem)
