"""Unrolls that keep few states have the same gradients, in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import Unrolled
from quickstudy.objectives.query_loss import query_loss
from quickstudy.operators import trees
from quickstudy.operators.checkpointing import interval
from quickstudy.testing.contract import _variants
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp


def gradients(learner: qs.Learner, tasks: qs.Task) -> list[Tensor]:
    learner.zero_grad()
    keys = random.fold_in(random.key(0), torch.arange(batching.count(tasks)))
    losses = MetaLoss(learner, query_loss).backward(tasks, keys)
    return [losses, *(p.grad.clone() for p in learner.parameters() if p.grad is not None)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("name", ["MAML", "MetaSGD", "CAVIA", "ANIL", "ProtoMAML"])
def test_the_meta_gradient_is_the_same(name: str, every: int) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS).double()
    learner.steps = 7  # type: ignore[assignment]
    tasks = batching.to_dtype(batching.stack(_variants(classification_task(), 3)), torch.float64)
    learner.differentiation = Unrolled(checkpoint=0)  # type: ignore[assignment]
    expected = gradients(learner, tasks)
    learner.differentiation = Unrolled(checkpoint=every)  # type: ignore[assignment]
    torch.testing.assert_close(gradients(learner, tasks), expected, rtol=1e-10, atol=1e-12)


def kept(learner: qs.Learner, tasks: qs.Task) -> int:
    """Return how many numbers the outer gradient keeps."""
    storages: dict[int, int] = {}
    states = batching.adapt(learner, tasks.support)
    nodes = [leaf.grad_fn for leaf in trees.leaves(states) if isinstance(leaf, Tensor) and leaf.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for attribute in (name for name in dir(node) if name.startswith("_saved_") or name == "saved_tensors"):
            found = getattr(node, attribute)
            for tensor in found if isinstance(found, (tuple, list)) else [found]:
                if isinstance(tensor, Tensor):
                    storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        nodes += [following for following, _ in node.next_functions]
    return sum(storages.values())


def test_a_hundred_steps_keep_less_than_a_fifth() -> None:
    learner = CLASSIFICATION["MAML"](mlp, WAYS)
    learner.steps = 100  # type: ignore[assignment]
    tasks = batching.stack(_variants(classification_task(), 3))
    learner.differentiation = Unrolled(checkpoint=0)  # type: ignore[assignment]
    plain = kept(learner, tasks)
    learner.differentiation = Unrolled(checkpoint=10)  # type: ignore[assignment]
    assert 0 < kept(learner, tasks) < plain / 5


def test_only_large_unrolls_are_checkpointed_unasked() -> None:
    small, large = torch.zeros(100), torch.zeros(112_000)
    assert interval(100, small) == 0
    assert interval(5, large) == 0
    assert interval(100, large) == 10


def test_a_negative_interval() -> None:
    with pytest.raises(InputError, match="checkpoint must be 0"):
        Unrolled(checkpoint=-1)
