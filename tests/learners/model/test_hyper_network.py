"""Hypernetwork learner: weights worked out row by row."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from learner_table import masked_task
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.learners import HyperNetwork

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("rank", [None, 2])
def test_by_rows(rank: int | None) -> None:
    """Every weight is the model's own plus a linear function of the summary, or a product of two of rank R."""
    model = qs.nets.mlp(5, (7,), 3)
    learner = HyperNetwork(qs.nets.mlp(4, (6, 5)), 3, model=model, width=8, rank=rank)
    task = batching.to_dtype(masked_task(), torch.float64)
    state = learner.adapt(task.support)

    rows = task.support.mask.nonzero().squeeze(1).tolist()
    total = torch.zeros(8)
    for i in rows:
        label = torch.zeros(3)
        label[task.support.labels[i]] = 1
        total = total + learner.reader(torch.cat([learner.net(task.support.inputs[i : i + 1])[0], label]))
    summary = learner.trunk(total / len(rows))
    weights = {}
    for name, value in model.named_parameters():
        make = learner.generators[learner.names.index(name)]
        if rank is None or value.ndim == 1:
            assert make.rank is None
            scale = value.shape[1] ** -0.5 if value.ndim > 1 else 1.0
            weights[name] = value + scale * make.whole(summary).reshape(value.shape)
            continue
        left, right = make.left(summary).reshape(-1, rank), make.right(summary).reshape(rank, -1)
        added = sum(torch.outer(left[:, r], right[r]) for r in range(rank)) / (rank * value.shape[1]) ** 0.5
        assert torch.linalg.matrix_rank(added) == rank
        weights[name] = value + added
    for name, value in weights.items():
        torch.testing.assert_close(state.weights[name], value)
    hidden = learner.net(task.query.inputs)
    hidden = (hidden @ weights["body.0.weight"].T + weights["body.0.bias"]).relu()
    expected = hidden @ weights["head.weight"].T + weights["head.bias"]
    torch.testing.assert_close(learner.predict(state, task.query.inputs), expected)


def test_low_rank_has_fewer_parameters() -> None:
    whole, low = (HyperNetwork(None, 5, features=64, width=32, rank=rank) for rank in (None, 1))
    assert sum(p.numel() for p in low.parameters()) < 0.6 * sum(p.numel() for p in whole.parameters())


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
