"""The gradient of an expected reward, from answers drawn of the learner's own predictions: the score function.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning"
(REINFORCE), with the baseline of Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!":
of n answers a_i ~ p(. | omega) to a query row, each is compared with the mean of the others,

    gradient = -1/n sum_i (r_i - 1/(n-1) sum_{j != i} r_j) d log p(a_i) / d omega

which is an unbiased estimate of d/d omega of -E r(a), and the derivative of log p passes through adaptation as the
learner has it (unrolled, first-order, implicit). One adaptation serves all n answers to all query rows, so it needs far
fewer evaluations than evolution strategies; but it needs a derivative of the learner, if not of the reward.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.batching import map_tasks
from quickstudy.core import Learner, Output, Task, masked_mean
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian, GaussianMixture
from quickstudy.outer.base import Following, Outer
from quickstudy.registry import register

_ANSWERS = 0x5047
"""Folded into a task's key: learners fold in small numbers."""


@register("outer", how="policy gradient: rewards of answers drawn from predictions")
class PolicyGradient(Outer):
    """Makes answers with high reward likelier, whether or not the reward has a derivative.

    Predictions of classes are drawn from as they are, and so are `Gaussian`s and mixtures of them; a plain regression
    is the mean of a normal distribution whose standard deviation is `exploration`.

    Args:
        samples: answers n to each query row.
        exploration: standard deviation of answers to a regression without one of its own.
        baseline: compare an answer with the mean of the others. Without one the variance is larger.
        lr: outer learning rate.
        following: keywords of `outer.Outer`.

    Raises:
        InputError: too few samples, or exploration is not positive.
    """

    def __init__(
        self,
        samples: int = 8,
        exploration: float = 0.1,
        baseline: bool = True,
        lr: float = 1e-3,
        **following: Unpack[Following],
    ) -> None:
        super().__init__(lr, **following)
        if samples < 1 + baseline:
            raise InputError(f"samples must be at least {1 + baseline}{' with a baseline' * baseline}, not {samples}")
        if not exploration > 0:
            raise InputError(f"exploration must be positive, not {exploration}")
        self.samples, self.exploration, self.baseline = samples, exploration, baseline

    def refuses(self, learner: Learner, objective: Objective) -> str | None:
        """Need a reward of answers given at the end of learning, and its mean over tasks."""
        name = objective.name
        if not objective.rewards:
            return (
                f"the objective {name} has no reward(answers, query) to draw answers for; use objectives.Reward, or "
                "outer.Gradient, whose gradient of a differentiable objective is exact"
            )
        if not objective.judges_end:
            return f"PolicyGradient judges the end of learning alone, not {name}; use outer.EvolutionStrategies"
        if objective.compares_tasks:
            return (
                f"{name} weighs tasks by their expected rewards, of which PolicyGradient sees but draws; use "
                "outer.EvolutionStrategies"
            )
        return None

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        """Add the estimate to the gradient; return minus the mean rewards (T,) of the answers that were drawn."""
        total = len(keys)
        size = meta_loss.size(tasks, total)
        # The share of a task, as a tensor: it is an input of what is recorded.
        share = torch.full((total,), 1 / total, device=keys.device)
        parts = batching.chunks((tasks, keys, share), size)
        shown = [meta_loss.recorded(self._backward, part) for part in parts]
        return meta_loss.share(torch.cat(shown))

    def _backward(self, meta_loss: MetaLoss, part: tuple[Task, Tensor, Tensor]) -> Tensor:
        tasks, keys, share = part
        surrogate, shown = batching.map_tasks(
            lambda *task: self.surrogate(meta_loss.learner, meta_loss.objective, *task), tasks, keys
        )
        if surrogate.requires_grad:
            (surrogate * share).sum().backward()
        return shown.detach()  # type: ignore[no-any-return]

    def surrogate(self, learner: Learner, objective: Objective, task: Task, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return (), whose derivative is the estimate for one task, and minus the mean reward () of the answers."""
        query = task.query
        outputs = learner.predict(learner.learn(task.support, key), query.inputs)
        if query.labels.is_floating_point() and isinstance(outputs, Tensor):
            outputs = Gaussian(outputs, torch.full_like(outputs, self.exploration))

        def one(key: Tensor) -> tuple[Tensor, Tensor]:
            answers = draw(outputs, key).detach()
            return objective.reward(answers, query).detach(), log_prob(outputs, answers)

        keys = random.fold_in(random.fold_in(key, _ANSWERS), torch.arange(self.samples, device=key.device))
        rewards, log_probs = map_tasks(one, keys)
        advantage = rewards
        if self.baseline:
            advantage = (rewards - rewards.mean(0)) * (self.samples / (self.samples - 1))
        scores = masked_mean(-(advantage * log_probs).mean(0), query.mask)
        return scores, -masked_mean(rewards.mean(0), query.mask)


def draw(outputs: Output, key: Tensor) -> Tensor:
    """Return answers drawn from predictions: targets (Q, ...), or classes (Q, ...) from logits (Q, N, ...)."""
    if isinstance(outputs, Tensor):
        return (outputs + _gumbel(key, outputs)).argmax(1)
    if isinstance(outputs, GaussianMixture):
        part = (outputs.log_weights + _gumbel(random.fold_in(key, 1), outputs.log_weights)).argmax(1)
        place = part.reshape(-1, 1, *[1] * (outputs.means.ndim - 2)).expand(-1, 1, *outputs.means.shape[2:])
        outputs = Gaussian(outputs.means.gather(1, place).squeeze(1), outputs.stds.gather(1, place).squeeze(1))
    mean, std = outputs
    return mean + std * random.normal(key, *mean.shape, dtype=mean.dtype)  # type: ignore[no-any-return]


def log_prob(outputs: Output, answers: Tensor) -> Tensor:
    """Return (Q,) log-probabilities, or log-densities, of answers: the sum over all numbers of a row."""
    if not isinstance(outputs, Tensor):
        return outputs.log_prob(answers)  # type: ignore[no-any-return]
    return outputs.log_softmax(1).gather(1, answers.unsqueeze(1)).flatten(1).sum(1)


def _gumbel(key: Tensor, like: Tensor) -> Tensor:
    # In 64 bits: the larger of two logits far apart must be able to lose, if rarely.
    return -(-random.uniform(key, *like.shape, dtype=torch.float64).log()).log().to(like.dtype)
