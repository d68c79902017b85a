"""MetaNet against a plain loop over support rows with torch.autograd, and torch's LSTMCell."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.learners import MetaNet
from quickstudy.testing.specimens import regression_task
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")


def features_of(gradient: Tensor) -> Tensor:
    return torch.stack([torch.asinh(math.exp(7) * gradient) / 7, gradient], -1)


def row_loss(outputs: Tensor, label: Tensor) -> Tensor:
    if label.dtype.is_floating_point:
        return (outputs - label).square().mean()
    return F.cross_entropy(outputs[None], label[None])


def by_rows(learner: MetaNet, support: Examples, inputs: Tensor) -> Tensor:
    rows = [i for i in range(len(support)) if support.mask is None or support.mask[i]]
    x, q = learner.net(support.inputs), learner.net(inputs)
    first, second, u = learner.base[0], learner.base[2], learner.representation

    state = [(torch.zeros(p.numel(), 4), torch.zeros(p.numel(), 4)) for p in u.parameters()]
    for i in rows:
        loss = row_loss(learner.representation_head(u(x[i]).relu()), support.labels[i])
        gradients = torch.autograd.grad(loss, list(u.parameters()), create_graph=True)
        state = [learner.reader(features_of(g.flatten()), s) for g, s in zip(gradients, state, strict=True)]
    made = [learner.reader_head(h).reshape(p.shape) for (h, _), p in zip(state, u.parameters(), strict=True)]

    def represent(row: Tensor) -> Tensor:
        return u(row).relu() + (made[0] @ row + made[1]).relu()

    memory, keys = [], []
    for i in rows:
        loss = row_loss(second(first(x[i]).relu()), support.labels[i])
        gradients = torch.autograd.grad(loss, list(learner.base.parameters()), create_graph=True)
        memory.append([learner.maker(features_of(g)).squeeze(-1) for g in gradients])
        keys.append(represent(x[i]))
    found = []
    for row in q:
        r = represent(row)
        scores = torch.stack([learner.log_scale.exp() * F.cosine_similarity(r, key, dim=0) for key in keys])
        attention = scores.softmax(0)
        fast = [sum(a * one[k] for a, one in zip(attention, memory, strict=True)) for k in range(4)]
        hidden = first(row).relu() + (fast[0] @ row + fast[1]).relu()
        found.append(second(hidden) + fast[2] @ hidden + fast[3])
    return torch.stack(found)


def test_by_rows() -> None:
    learner, task = (
        MetaNet(qs.nets.mlp(4, (6, 5)), 3, width=6, hidden=4),
        batching.to_dtype(masked_task(), torch.float64),
    )
    found = learner.predict(learner.adapt(task.support), task.query.inputs)
    torch.testing.assert_close(found, by_rows(learner, task.support, task.query.inputs))


def test_regression_by_rows() -> None:
    learner, task = MetaNet(None, 1, features=1, width=6, hidden=4), batching.to_dtype(regression_task(), torch.float64)
    found = learner.predict(learner.adapt(task.support), task.query.inputs)
    torch.testing.assert_close(found, by_rows(learner, task.support, task.query.inputs))


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        MetaNet(None, 3, features=2, width=0)
    with pytest.raises(InputError, match="outputs=3"):
        MetaNet(None, 2, features=2).adapt(Examples(torch.randn(3, 2), [0, 1, 2]))
