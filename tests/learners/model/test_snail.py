"""SNAIL against torch's own causal convolutions and attention, and blocks against loops over time in NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.learners import SNAIL
from quickstudy.nets.snail import AttentionBlock, DenseBlock, snail_blocks
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")


def build(length: int = 9) -> SNAIL:
    return SNAIL(qs.nets.mlp(4, (6, 5)), 3, filters=4, length=length)


def whole_sequence(learner: SNAIL, rows: Tensor) -> Tensor:
    """Return the last output of a sequence (L, C), by conv1d and masked attention over all of it."""
    causal = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
    for block in learner.blocks:
        if isinstance(block, DenseBlock):
            kernel = torch.stack([block.back.weight, block.now.weight], -1)
            padded = F.pad(rows.T[None], (block.dilation, 0))
            a, b = F.conv1d(padded, kernel, block.now.bias, dilation=block.dilation)[0].T.chunk(2, -1)
            added = torch.tanh(a) * torch.sigmoid(b)
        else:
            parts = (block.to_queries(rows), block.to_keys(rows), block.to_values(rows))
            added = F.scaled_dot_product_attention(*(part[None] for part in parts), attn_mask=causal)[0]
        rows = torch.cat([rows, added], 1)
    return learner.head(rows)[-1]


def test_each_query_ends_a_sequence_of_its_own() -> None:
    learner, task = build(), batching.to_dtype(masked_task(), torch.float64)
    found = learner.predict(learner.adapt(task.support), task.query.inputs)
    kept = task.support.mask
    support = torch.cat([learner.net(task.support.inputs[kept]), F.one_hot(task.support.labels[kept], 3)], 1)
    for q, features in enumerate(learner.net(task.query.inputs)):
        last = torch.cat([features, torch.zeros(3)])
        torch.testing.assert_close(found[q], whole_sequence(learner, torch.cat([support, last[None]])))


def numbers(layer: torch.nn.Linear, row: np.ndarray) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()
    return layer.weight.detach().numpy() @ row + bias


@pytest.mark.parametrize("dilation", [1, 2, 4, 8])
def test_convolution_by_loops(dilation: int) -> None:
    block, rows = DenseBlock(3, 2, dilation), np.random.default_rng(0).normal(size=(7, 3))
    expected = []
    for t, row in enumerate(rows):
        both = numbers(block.now, row)
        if t >= dilation:
            both = both + numbers(block.back, rows[t - dilation])
        expected.append(np.concatenate([row, np.tanh(both[:2]) / (1 + np.exp(-both[2:]))]))
    x = torch.from_numpy(rows)
    found = block(x, x, torch.arange(7), torch.ones(7, dtype=torch.bool))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-12)


def test_attention_by_loops() -> None:
    block, rows = AttentionBlock(3, 4, 2), np.random.default_rng(0).normal(size=(6, 3))
    torch.nn.init.normal_(block.to_queries.weight)
    expected = []
    for t, row in enumerate(rows):
        scores = [numbers(block.to_queries, row) @ numbers(block.to_keys, rows[s]) / 2 for s in range(t + 1)]
        weights = np.exp(scores) / np.exp(scores).sum()
        read = sum(w * numbers(block.to_values, rows[s]) for s, w in enumerate(weights))
        expected.append(np.concatenate([row, read]))
    x = torch.from_numpy(rows)
    found = block(x, x, torch.arange(6), torch.ones(6, dtype=torch.bool))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-12)


def test_stream_is_adapting_to_every_beginning() -> None:
    learner, rows = build(), batching.to_dtype(masked_task(), torch.float64).support
    found = learner.stream(rows)
    for t in range(len(rows)):
        before = Examples(rows.inputs, rows.labels, rows.mask & (torch.arange(len(rows)) < t), rows.ways)
        torch.testing.assert_close(found[t], learner.predict(learner.adapt(before), rows.inputs[t : t + 1])[0])


def test_order_matters() -> None:
    learner, task = build(), batching.to_dtype(masked_task(), torch.float64)
    assert not learner.permutation_invariant
    kept = task.support.mask
    forth = Examples(task.support.inputs[kept], task.support.labels[kept], ways=3)
    back = Examples(forth.inputs.flip(0), forth.labels.flip(0), ways=3)
    first, second = (learner.predict(learner.adapt(each), task.query.inputs) for each in (forth, back))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("length", "dilations"), [(1, [1]), (2, [1]), (6, [1, 2, 4]), (9, [1, 2, 4, 8]), (26, [1, 2, 4, 8, 16])]
)
def test_convolutions_look_over_the_length(length: int, dilations: list[int]) -> None:
    blocks, channels = snail_blocks(10, 8, length)
    found = [block.dilation for block in blocks if isinstance(block, DenseBlock)]
    assert found == 2 * dilations
    assert sum(dilations) + 1 >= length
    assert channels == 10 + 2 + 8 + 16 + 2 * 8 * len(dilations)
