"""Hypernetwork learner: weights worked out row by row."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.learners import HyperNetwork
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_by_rows(rank: int | None) -> None:
    """Every weight is the model's own plus a linear function of a summary, or a sum of R outer products of two."""
    model = qs.nets.mlp(5, (7,), 3)
    learner = HyperNetwork(qs.nets.mlp(4, (6, 5)), 3, model=model, width=8, rank=rank)
    task = batching.to_dtype(masked_task(), torch.float64)
    state = learner.adapt(task.support)

    rows = task.support.mask.nonzero().squeeze(1).tolist()
    total, by_class = torch.zeros(8), torch.zeros(3, 8)
    for i in rows:
        label = torch.zeros(3)
        label[task.support.labels[i]] = 1
        read = learner.reader(torch.cat([learner.net(task.support.inputs[i : i + 1])[0], label]))
        total = total + read / len(rows)
        by_class[task.support.labels[i]] = by_class[task.support.labels[i]] + 3 * read / len(rows)
    summary = learner.summary(total)
    summaries = [learner.summary_of_output(torch.cat([each, total])) for each in by_class]
    weights = {}
    for name, value in model.named_parameters():
        make, columns = learner.generators[learner.names.index(name)], value[0].numel()
        made = torch.stack([make.left(each) for each in summaries]) if "head" in name else make.left(summary)
        if value.ndim == 1 or rank is None:
            added = made.reshape(value.shape) / columns**0.5
        else:
            left, right = made.reshape(len(value), rank), make.right(summary).reshape(rank, columns)
            added = sum(torch.outer(left[:, r], right[r]) for r in range(rank)) / (columns * rank) ** 0.5
            assert torch.linalg.matrix_rank(added) == rank
        weights[name] = value + added
    for name, value in weights.items():
        torch.testing.assert_close(state.weights[name], value)
    hidden = learner.net(task.query.inputs)
    hidden = (hidden @ weights["body.0.weight"].T + weights["body.0.bias"]).relu()
    expected = hidden @ weights["head.weight"].T + weights["head.bias"]
    torch.testing.assert_close(learner.predict(state, task.query.inputs), expected)


def test_low_rank_has_fewer_parameters() -> None:
    sizes = []
    for rank in (None, 1):
        learner = HyperNetwork(None, 1, features=64, model=qs.nets.mlp(64, (64,), 1), width=32, rank=rank)
        sizes.append(sum(p.numel() for p in learner.generators.parameters()))
    assert sizes[1] < 0.1 * sizes[0]


def test_another_support_makes_other_weights() -> None:
    learner = HyperNetwork(None, 2, features=3, width=8)
    first, second = (learner.adapt(Examples(torch.randn(4, 3), [0, 1, 0, 1])) for _ in range(2))
    assert not torch.allclose(first.weights["weight"], second.weights["weight"])


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        HyperNetwork(None, 2, features=3, rank=0)
    wrong = HyperNetwork(None, 2, features=3, model=nn.Linear(3, 4))
    with pytest.raises(InputError, match="not 2 outputs"):
        wrong.predict(wrong.adapt(Examples(torch.randn(2, 3), [0, 1])), torch.randn(1, 3))
