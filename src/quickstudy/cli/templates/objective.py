"""GoodStart, an objective in one file. Change what it does, then try it:

python good_start.py                                        meta-train with it for a few steps
quickstudy list objectives --import good_start.py
"""

from __future__ import annotations

from torch import Tensor

import quickstudy as qs
from quickstudy.objectives import Objective
from quickstudy.registry import register


@register("objective", why="a start that is good before it adapts")
class GoodStart(Objective):
    """The loss on the query after adapting, and a share of the loss before.

    Args:
        share: weight of the loss before.
    """

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        self.share = share

    def forward(self, learner: qs.Learner, task: qs.Task, key: Tensor | None) -> Tensor:
        """Return the loss of ONE task."""
        loss = learner.loss(learner.learn(task.support, key), task.query)
        before = learner.finish(learner.start(task.support, key), task.support)  # type: ignore[operator]
        return loss + self.share * learner.loss(before, task.query)

    def refuses(self, learner: qs.Learner) -> str | None:
        """Return why a learner cannot be trained by it, or None."""
        return None if hasattr(learner, "start") else f"{type(learner).__name__} has no inner loop"


if __name__ == "__main__":
    maml = qs.learners.MAML(qs.nets.mlp(1, outputs=1), lr=0.01)
    run = qs.meta_train(
        maml, qs.tasks.Sinusoid(10, 10), objective="GoodStart", steps=20, meta_batch=4, log_every=1, progress=False
    )
    print(f"the loss fell from {run.history[0]['loss']:.3f} to {run.history[-1]['loss']:.3f}")
