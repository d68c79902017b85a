"""`torch.func.vmap` over all tasks at once, as PyTorch's tutorials have it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.case import Context, Step, TorchStep
from benchmarks.peers.problems import MAML


class NormByHand(nn.Module):
    """Batch norm with statistics of the rows at hand, scaled and shifted by hand.

    `nn.BatchNorm2d` with adapted scales has wrong second derivatives under vmap (PyTorch 2.13).
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(x, None, None, training=True)
        return x * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1)


def replace_norms(module: nn.Module) -> None:
    """Replace each batch norm within a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, NormByHand(child))
        else:
            replace_norms(child)


class NaiveVmap(TorchStep):
    """The outer step of a MAML problem."""

    def __init__(self, problem: MAML) -> None:
        replace_norms(problem.net)
        super().__init__(problem.net)
        self.problem = problem

    def backward(self) -> Tensor:
        problem = self.problem

        def inner(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return problem.loss(functional_call(problem.net, weights, (x,)), y)

        def task_loss(x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            weights = dict(self.named)
            for _ in range(problem.steps):
                grads = grad(inner)(weights, x, y)
                if problem.first_order:
                    grads = {name: g.detach() for name, g in grads.items()}
                weights = {name: weights[name] - problem.lr * grads[name] for name in weights}
            return inner(weights, query_x, query_y)

        loss = vmap(task_loss)(*problem.episodes.support, *problem.episodes.query).mean()
        loss.backward()
        return loss.detach()


def build(problem: MAML, context: Context) -> Step:
    return NaiveVmap(problem)
