"""A batch of tasks, and its losses and meta-gradient, for tests of how they are computed."""

import torch
from torch import Tensor

from quickstudy import Task, batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.testing.contract import _variants
from quickstudy.testing.specimens import classification_task

KEYS = random.fold_in(random.key(0), torch.arange(7))


def tasks(count: int = 7) -> Task:
    return batching.stack(_variants(classification_task(), count))  # type: ignore[no-any-return]


def gradients(losses: MetaLoss, batch: Task | None = None, keys: Tensor = KEYS) -> tuple[Tensor, list[Tensor]]:
    learner = losses.learner
    learner.zero_grad()
    values = losses.backward(tasks() if batch is None else batch, keys)
    return values, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learner.parameters()]
