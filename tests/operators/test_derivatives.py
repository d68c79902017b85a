"""Operators without a second derivative are named by the layer that uses them, where training meets them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import UnsupportedLayerError


class Gate(nn.Module):
    """Gates by an operator that PyTorch differentiates once."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.ops.aten.hardsigmoid(x * self.scale)  # type: ignore[no-any-return]


def test_layer_is_named_in_training() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.arange(60) % 12
    tasks = qs.tasks.FewShot(qs.datasets.arrays(x.numpy(), y.numpy()), ways=3, shots=1, queries=2)

    def net() -> nn.Module:
        return nn.Sequential(nn.Sequential(nn.Identity(), Gate()), nn.Linear(4, 3))

    def train(learner: qs.Learner) -> None:
        qs.meta_train(learner, tasks, steps=1, meta_batch=2, progress=False, compile=False)

    with pytest.raises(
        UnsupportedLayerError, match=r"layer 'adapted\.net\.0\.1' \(Gate\).*hardsigmoid_backward.*FOMAML"
    ):
        train(qs.learners.MAML(net()))
    train(qs.learners.FOMAML(net()))
    train(qs.learners.ProtoNet(net()))
