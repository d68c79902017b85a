"""Optimisers side by side on one problem: all rates and seeds at once, gradients by one call of `torch.func.vmap`.

Each lane has its own parameters. Lanes of one seed begin at the same place and see the same rows at each step. Updates
are torch.optim's own, on the lane's slice of the gradient; the learned optimiser is the class that users have.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap
from torch.optim import Optimizer

from quickstudy.core import Examples, prediction_loss
from quickstudy.operators.calls import call
from quickstudy.optim import LearnedOptimizer
from quickstudy_studies.learned_optimizer.held_out import HeldOut

GRID = tuple(10 ** (-6 + k / 2) for k in range(14))
"""Rates that are tried: half-decades from 1e-6 to 3.2."""
ROWS = 256
"""Rows whose loss is computed at once, for the curves; batch norm takes its statistics from them."""


@dataclass(frozen=True)
class Contender:
    """An optimiser with the rates that it is run at.

    Attributes:
        name: what it is called.
        make: builds it from parameters, a rate and the number of steps.
        rates: what to try; a single 1.0 where there is nothing to tune.
        schedule: the share of steps done -> what the rate is multiplied by.
        whole: whether it takes each tensor of a net as one parameter; else all numbers are one, which is the same to
            an optimiser that treats each by itself.
    """

    name: str
    make: Callable[[list[nn.Parameter], float, int], Optimizer]
    rates: tuple[float, ...] = GRID
    schedule: Callable[[float], float] = lambda done: 1.0
    whole: bool = False


@dataclass(frozen=True)
class Track:
    """The losses (rates, seeds, points) of one optimiser; infinite once it has diverged."""

    name: str
    rates: tuple[float, ...]
    losses: list[list[list[float]]]

    def final(self, rate: int) -> float:
        """Return the median of the seeds' final losses at a rate."""
        return statistics.median(curve[-1] for curve in self.losses[rate])

    @property
    def best(self) -> int:
        """The rate with the least final loss, the smaller of equal ones."""
        return min(range(len(self.rates)), key=self.final)

    def curve(self, rate: int) -> list[float]:
        """Return the median of the seeds at each point."""
        return [statistics.median(values) for values in zip(*self.losses[rate], strict=True)]


class Lane:
    """One run: its parameters are slices of a row of the tensor that holds all lanes."""

    def __init__(
        self, contender: Contender, rate: float, row: Tensor, shapes: Sequence[torch.Size], steps: int
    ) -> None:
        self.rate, self.schedule = rate, contender.schedule
        self.sizes = [shape.numel() for shape in shapes] if contender.whole else [len(row)]
        parts = zip(torch.split(row, self.sizes), shapes if contender.whole else [row.shape], strict=True)
        self.parameters = [nn.Parameter(part.reshape(shape)) for part, shape in parts]
        self.optimizer = contender.make(self.parameters, rate, steps)

    def step(self, gradient: Tensor, value: Tensor, done: float) -> None:
        """Make a step, `done` the share of steps before it."""
        for p, part in zip(self.parameters, torch.split(gradient, self.sizes), strict=True):
            p.grad = part.reshape(p.shape)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.schedule(done)
        if isinstance(self.optimizer, LearnedOptimizer):
            self.optimizer.step(loss=value)
        else:
            self.optimizer.step()


def race(
    problem: HeldOut, contenders: Sequence[Contender], seeds: int = 3, steps: int | None = None, points: int = 25
) -> tuple[list[int], list[Track]]:
    """Run all contenders; return the steps at which losses were taken, and what each did.

    Args:
        problem: what to fit.
        contenders: optimisers.
        seeds: initialisations, each with an order of rows of its own.
        steps: in place of the problem's.
        points: how often the loss on all rows is taken, besides the beginning.
    """
    steps = steps or problem.steps
    inputs, labels = problem.data()
    beginnings, net = _beginnings(problem, seeds)
    shapes = {name: p.shape for name, p in net.named_parameters()}
    plan = [(each, rate, seed) for each in contenders for rate in each.rates for seed in range(seeds)]
    seed = torch.tensor([seed for _, _, seed in plan])
    theta = beginnings[seed]
    lanes = [
        Lane(each, rate, row, list(shapes.values()), steps) for row, (each, rate, _) in zip(theta, plan, strict=True)
    ]

    def loss(flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes.values()])
        params = {name: part.reshape(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        return prediction_loss(call(net, inputs, params)[0], Examples(inputs, labels, check=False))

    gradient = vmap(grad_and_value(loss), in_dims=(0, None, None) if problem.batch is None else (0, 0, 0))
    marks = sorted({round(steps * k / points) for k in range(points + 1)})
    rows = _orders(problem, len(labels), steps, seeds)
    taken = []
    for step in range(steps + 1):
        if step in marks:
            taken.append(_losses(loss, theta, inputs, labels))
        if step == steps:
            break
        chosen = slice(None) if rows is None else rows[step][seed]
        gradients, values = gradient(theta, inputs[chosen], labels[chosen])
        for lane, own, value in zip(lanes, gradients, values, strict=True):
            lane.step(own, value, step / steps)
    return marks, _tracks(contenders, torch.stack(taken, 1), seeds)


def _beginnings(problem: HeldOut, seeds: int) -> tuple[Tensor, nn.Module]:
    """Return the parameters at the beginning (seeds, P), as PyTorch's layers draw them, and a net."""
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = problem.net()
            found.append(nn.utils.parameters_to_vector(net.parameters()).detach())
    return torch.stack(found), net


def _orders(problem: HeldOut, count: int, steps: int, seeds: int) -> Tensor | None:
    """Return which rows each step takes (steps, seeds, batch), drawn with replacement; None for all."""
    if problem.batch is None:
        return None
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(seeds)]
    return torch.stack([torch.randint(count, (steps, problem.batch), generator=each) for each in generators], 1)


def _losses(loss: Callable[..., Tensor], theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss on all rows (lanes,), infinite where it is not a number."""
    parts = list(zip(torch.split(inputs, ROWS), torch.split(labels, ROWS), strict=True))
    with torch.no_grad():
        values = [vmap(loss, in_dims=(0, None, None))(theta, *part) * len(part[1]) for part in parts]
    return torch.nan_to_num(torch.stack(values).sum(0) / len(labels), nan=math.inf)


def _tracks(contenders: Sequence[Contender], losses: Tensor, seeds: int) -> list[Track]:
    tracks, at = [], 0
    for each in contenders:
        count = len(each.rates) * seeds
        mine = losses[at : at + count].reshape(len(each.rates), seeds, -1)
        tracks.append(Track(each.name, each.rates, mine.tolist()))
        at += count
    return tracks
