"""Bounds on the error in unseen tasks from the errors in seen ones: PAC-Bayes for meta-learning.

n tasks with m rows each come from one environment. A base learner turns rows S and a prior P over hypotheses into a
posterior Q(S, P). A hyper-posterior over priors is chosen by all the rows, against a hyper-prior fixed beforehand.
Losses lie in [0, 1]. With probability 1 - delta over tasks and rows, for all hyper-posteriors at once, the mean error
of Q(S, P) on new rows of a new task, P drawn from the hyper-posterior, is at most

  Amit & Meir 2018, theorem 2:
    1/n sum_i e_i + 1/n sum_i sqrt((D + d_i + log(2 n m / delta)) / (2 (m - 1)))
                  + sqrt((D + log(2 n / delta)) / (2 (n - 1)))

  Rothfuss et al. 2021, theorem 2, for any lambda and beta fixed beforehand:
    1/n sum_i e_i + (1/lambda + 1/(n beta)) D + 1/n sum_i d_i / beta + lambda / (8 n) + beta / (8 m) + C

with e_i = E_P of the mean error of Q(S_i, P) on S_i, d_i = E_P KL(Q(S_i, P) || P), and D the KL divergence of the
hyper-posterior from the hyper-prior. Departure: C = (1/lambda + 1/(n beta)) log(2 / delta), which Markov's inequality
at both levels, each with delta / 2, gives for every lambda and beta; the paper's single one is -log(delta) / sqrt(n).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import InputError


class Bound(NamedTuple):
    """The terms of a bound."""

    empirical: Tensor
    """Mean error on the rows that were learned from."""
    task: Tensor
    """Addition for learning each task from finitely many rows."""
    environment: Tensor
    """Addition for learning the prior from finitely many tasks."""

    @property
    def total(self) -> Tensor:
        """The bound itself."""
        return self.empirical + self.task + self.environment


def amit_meir(errors: Tensor, divergences: Tensor, hyper: Tensor, rows: int, tasks: int, delta: float = 0.05) -> Bound:
    """Return the bound of Amit & Meir 2018, theorem 2, of (n,) tasks, or of some of them for all.

    Args:
        errors: (n,) e_i in [0, 1].
        divergences: (n,) d_i in nats.
        hyper: () D in nats.
        rows: number m of rows of every task.
        tasks: number n of tasks.
        delta: probability that the bound does not hold.

    Raises:
        InputError: there are fewer than two tasks or rows, or delta is outside 0 to 1.
    """
    _check(rows, tasks, delta)
    inside = (hyper + divergences + math.log(2 * tasks * rows / delta)) / (2 * (rows - 1))
    environment = ((hyper + math.log(2 * tasks / delta)) / (2 * (tasks - 1))).sqrt()
    return Bound(errors.mean(), inside.sqrt().mean(), environment)


def pacoh(
    errors: Tensor,
    divergences: Tensor,
    hyper: Tensor,
    rows: int,
    tasks: int,
    delta: float = 0.05,
    beta: float | None = None,
    scale: float | None = None,
) -> Bound:
    """Return the bound of Rothfuss et al. 2021, theorem 2. Arguments as for `amit_meir`, and:

    Args:
        beta: weight of a task's rows; None takes 8 sqrt(m).
        scale: lambda, the weight of tasks; None takes 8 sqrt(n).
    """
    _check(rows, tasks, delta)
    beta = 8 * math.sqrt(rows) if beta is None else beta
    scale = 8 * math.sqrt(tasks) if scale is None else scale
    if not (beta > 0 and scale > 0):
        raise InputError(f"beta={beta} and lambda={scale} must be positive")
    paid = hyper + math.log(2 / delta)
    task = divergences.mean() / beta + paid / (tasks * beta) + beta / (8 * rows)
    return Bound(errors.mean(), task, paid / scale + scale / (8 * tasks))


def _check(rows: int, tasks: int, delta: float) -> None:
    if rows < 2 or tasks < 2 or not 0 < delta < 1:
        raise InputError(
            f"a bound needs at least two rows and tasks, and 0 < delta < 1, not {rows=}, {tasks=}, {delta=}"
        )


BOUNDS = {"amit-meir": amit_meir, "pacoh": pacoh}


def gaussian_kl(mean: Tensor, std: Tensor, prior_mean: Tensor, prior_std: Tensor) -> Tensor:
    """Return () KL(N(mean, std^2 I) || N(prior_mean, prior_std^2 I)) of vectors, in nats."""
    ratio = (std / prior_std).square().expand_as(mean)
    gap = ((mean - prior_mean) / prior_std).square()
    return (ratio + gap - 1 - torch.log(ratio)).sum() / 2
