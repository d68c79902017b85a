"""A reward for answers: what matters where it cannot be differentiated, such as whether an answer is right.

    loss = -mean_q r(answer_q, y_q),  answer_q the learner's single best answer

For outer optimisers that need no gradient (evolution strategies), or that make one of rewards alone by drawing answers
from the learner's own predictions (Williams 1992, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, State, Task, masked_mean
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.functional.predictive import check_targets, point
from quickstudy.registry import register

Judge = Callable[[Tensor, Examples], Tensor]
"""(answers, query) -> (Q,) rewards: class numbers (Q, ...) or targets (Q, ...) and what was asked."""


def correctness(answers: Tensor, query: Examples) -> Tensor:
    """Return (Q,) 1 for right classes and 0 for wrong ones; for targets minus the squared error."""
    if query.labels.is_floating_point():
        check_targets(answers, query.labels)
        rewards = -(answers - query.labels.reshape(answers.shape)).square()
    else:
        if answers.shape != query.labels.shape:
            raise InputError(f"answers {tuple(answers.shape)} do not fit labels {tuple(query.labels.shape)}, one a row")
        rewards = (answers == query.labels).to(torch.get_default_dtype())
    return rewards.flatten(1).mean(1) if rewards.ndim > 1 else rewards


@register("objective", why="a reward without a derivative")
class Reward(Objective):
    """Minus the mean reward of the learner's answers: the likeliest class, or the mean of a regression.

    Args:
        judge: `(answers, query) -> (Q,)` rewards; None is 1 for a right class and 0 for a wrong one, or minus the
            squared error (mean over a row's numbers).

    Raises:
        InputError: when called, the judge does not return one reward a query row.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        super().__init__()
        self.judge = correctness if judge is None else judge

    @property
    def differentiable(self) -> bool:
        """Answers are a choice, which has no derivative."""
        return False

    def reward(self, answers: Tensor, query: Examples) -> Tensor:
        """Return (Q,) rewards of answers: class numbers (Q, ...), or targets (Q, ...)."""
        rewards = self.judge(answers, query)
        if rewards.shape != query.labels.shape[:1]:
            rows, found = len(query.labels), tuple(rewards.shape)
            raise InputError(f"the judge must return one reward a query row, shape ({rows},), not {found}")
        return rewards

    def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
        """Return minus the mean reward of one task, a constant."""
        with torch.no_grad():
            return self.after(learner, learner.learn(task.support, key), task, key)

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return minus the mean reward of a state that adapting to the support gave, a constant."""
        with torch.no_grad():
            answers = point(learner.predict(state, task.query.inputs))
            if not task.query.labels.is_floating_point():
                answers = answers.argmax(1)
            return -masked_mean(self.reward(answers, task.query), task.query.mask)
