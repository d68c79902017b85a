"""SNAIL against torch's own causal convolutions and attention, on whole sequences that end with the query."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import quickstudy as qs
from learner_table import masked_task
from quickstudy import Examples, batching
from quickstudy.learners import SNAIL
from quickstudy.nets.snail import DenseBlock, snail_blocks

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
