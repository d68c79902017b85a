"""Bilevel problems whose hyper-gradients are known in closed form: diagonal quadratics and a learned learning rate.

The inner loss is 1/2 sum_d h_d (theta_d - b_d)^2, the outer loss the same with other h and b, and gradient descent with
rate a = exp(log_lr) goes, for each d by itself, theta_t = b + (1 - a h)^t (theta_0 - b). So the derivative of theta_t
is known, and with it that of any weighted sum of outer losses along the loop, in full and truncated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Task
from quickstudy.functional import random
from quickstudy.inner.adapted import Adapted, Theta
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.rules import Rule
from quickstudy.tasks.base import Plan, TaskDistribution

SIZE = 3
"""Numbers that are adapted, and rows of a support or query."""


def rows(curvature: Tensor, minimum: Tensor) -> Examples:
    """Return D rows whose mean squared error is 1/2 sum_d h_d (theta_d - b_d)^2, from h and b (..., D)."""
    root = (curvature * curvature.shape[-1] / 2).sqrt()
    return Examples(torch.diag_embed(root), (root * minimum).unsqueeze(-1), check=False)


def parabola(examples: Examples) -> tuple[Tensor, Tensor]:
    """Return the curvature h and the minimum b (..., D) of rows."""
    root = examples.inputs.diagonal(dim1=-2, dim2=-1)
    return 2 / root.shape[-1] * root.square(), examples.labels.squeeze(-1) / root


class Parabolas(TaskDistribution):
    """Diagonal quadratics with curvatures in [0.5, 2] and minima that are normal."""

    name = "parabolas"
    metric = "mse"

    def plan(self, indices: Tensor) -> Plan:
        """Return curvatures and minima (T, 2, D) of support and query."""
        keys = self.keys(indices)
        h = 0.5 + 1.5 * random.uniform(random.fold_in(keys, 1), 2, SIZE)
        return {"curvature": h, "minimum": random.normal(random.fold_in(keys, 2), 2, SIZE)}

    def gather(self, plan: Plan) -> Task:
        """Return the batch."""
        h, b = (plan[name].to(torch.get_default_dtype()) for name in ("curvature", "minimum"))
        return Task(rows(h[:, 0], b[:, 0]), rows(h[:, 1], b[:, 1]))


class Vector(Adapted):
    """A vector that starts at fixed numbers (D,); its net multiplies it by the inputs. Nothing here is learned."""

    def __init__(self, start: Tensor) -> None:
        super().__init__(nn.Linear(len(start), 1, bias=False).requires_grad_(False))
        self.net.weight.copy_(start)

    def initial(self, support: Examples, given: object = None, key: Tensor | None = None) -> Theta:
        """Return the start."""
        return {"weight": self.net.weight}


class LearnedRate(Rule):
    """Gradient descent with one learned rate, the exponential of its parameter."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.log_lr = nn.Parameter(torch.tensor(lr).log())

    def update(self, grads: Theta, state: object, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, object]:
        """Return theta - exp(log_lr) g."""
        return {name: theta[name] - self.log_lr.exp() * grads[name] for name in theta}, state


def learner(steps: int, lr: float = 0.05, start: Tensor | None = None) -> GradientLearner:
    """Return gradient descent whose learned rate `rule.log_lr` is its only meta-parameter."""
    return GradientLearner(Vector(torch.ones(SIZE) if start is None else start), LearnedRate(lr), Unrolled(), steps)


def path(task: Task, lr: float, steps: int, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return theta_1..theta_steps and their derivatives by log lr, each (steps, ..., D), in closed form.

    Args:
        task: one of `Parabolas`, or a batch of them.
        lr: the rate a.
        steps: inner steps T.
        start: theta_0 (D,) or (..., D); ones where None.
    """
    h, b = parabola(task.support)
    away = (torch.ones(SIZE) if start is None else start) - b
    t = torch.arange(1, steps + 1, dtype=h.dtype).reshape(-1, *[1] * h.ndim)
    keep = 1 - lr * h
    return b + keep**t * away, -lr * t * h * keep ** (t - 1) * away


def final(steps: int) -> Tensor:
    """Return weights (steps,) of the loss after the last step alone."""
    return (torch.arange(1, steps + 1) == steps).to(torch.get_default_dtype())


def value(task: Task, lr: float, steps: int, weights: Tensor | None = None, start: Tensor | None = None) -> Tensor:
    """Return the outer loss (...): the sum of losses on the query after each step, weighted (steps,); see `final`."""
    theta, _ = path(task, lr, steps, start)
    h, b = parabola(task.query)
    weights = final(steps) if weights is None else weights
    return torch.einsum("t,t...->...", weights, 0.5 * (h * (theta - b).square()).sum(-1))


def hyper_gradient(
    task: Task, lr: float, steps: int, weights: Tensor | None = None, start: Tensor | None = None
) -> Tensor:
    """Return the derivative (...) of `value` by log lr, through all steps."""
    theta, slope = path(task, lr, steps, start)
    h, b = parabola(task.query)
    weights = final(steps) if weights is None else weights
    return torch.einsum("t,t...->...", weights, (h * (theta - b) * slope).sum(-1))


def truncated_gradients(task: Task, lr: float, steps: int, length: int, weights: Tensor | None = None) -> Tensor:
    """Return what truncation makes of `hyper_gradient` (steps / length, ...): for each segment of so many steps, the
    derivative of its own losses by log lr, with the theta that it begins with taken as a constant."""
    weights = final(steps) if weights is None else weights
    theta = path(task, lr, steps)[0]
    begins = [torch.ones(SIZE).expand(theta.shape[1:]), *theta[length - 1 : -1 : length]]
    parts = zip(begins, weights.split(length), strict=True)
    return torch.stack([hyper_gradient(task, lr, len(part), part, begin) for begin, part in parts])
