"""Transformer layers in evaluation, for which PyTorch has other paths: the values of the path of training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

import quickstudy as qs
from quickstudy.operators.calls import call


class Encoder(nn.Module):
    """Padded tokens (S, L) -> the mean of what real ones are encoded as."""

    def __init__(self, mask: str, batch_first: bool = True, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            8, 2, 12, 0.0, batch_first=batch_first, norm_first=options.pop("norm_first", False)
        )
        self.embed, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 5)
        self.encoder, self.mask, self.batch_first = nn.TransformerEncoder(layer, 2, **options), mask, batch_first

    def forward(self, x: Tensor) -> Tensor:
        pad = x == 0
        given: dict[str, Any] = {}
        if "padding" in self.mask:
            given["src_key_padding_mask"] = pad
        if "causal" in self.mask:
            given["mask"] = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
            given["is_causal"] = "known" in self.mask or None
        z = self.embed(x)
        z = self.encoder(z, **given) if self.batch_first else self.encoder(z.transpose(0, 1), **given).transpose(0, 1)
        z = z.masked_fill(pad.unsqueeze(-1), 0)
        return self.head(z.sum(1) / (~pad).sum(1, keepdim=True))  # type: ignore[no-any-return]


def tokens(*shape: int) -> Tensor:
    generator = np.random.default_rng(0)
    x = generator.integers(1, 20, size=shape)
    for row in x.reshape(-1, shape[-1]):
        row[generator.integers(2, shape[-1] + 1) :] = 0
    return torch.as_tensor(x)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "options", [{}, {"norm_first": True}, {"mask_check": False}, {"enable_nested_tensor": False}], ids=str
)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("mask", ["none", "padding", "causal", "causal-known", "padding-causal"])
def test_evaluation_is_training_without_dropout(
    mask: str, batch_first: bool, options: dict[str, Any], float64: None
) -> None:
    torch.manual_seed(0)
    net = Encoder(mask, batch_first, **options)
    x = tokens(3, 4, 6)
    training = torch.stack([net.train()(task) for task in x])
    for mode in (True, False):
        net.train(mode)
        with torch.set_grad_enabled(mode):
            torch.testing.assert_close(torch.stack([call(net, task)[0] for task in x]), training)
            torch.testing.assert_close(vmap(lambda task: call(net, task)[0])(x), training)
            theta = {key: value.detach().expand(3, *value.shape) for key, value in net.named_parameters()}
            found = vmap(lambda theta, task: call(net, task, theta)[0])(theta, x)
            torch.testing.assert_close(found, training)


class Attention(nn.Module):
    def __init__(self, need_weights: bool, batch_first: bool, masked: bool) -> None:
        super().__init__()
        self.layer, self.need_weights, self.masked = (
            nn.MultiheadAttention(4, 2, batch_first=batch_first),
            need_weights,
            masked,
        )

    def forward(self, x: Tensor) -> Tensor:
        batch_first = self.layer.batch_first
        z = x if batch_first else x.transpose(0, 1)
        mask = x[..., 0] > 0.8 if self.masked else None
        found, weights = self.layer(z, z, z, key_padding_mask=mask, need_weights=self.need_weights)
        found = found if batch_first else found.transpose(0, 1)
        return torch.cat([found.flatten(1), weights.flatten(1)], 1) if self.need_weights else found.flatten(1)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_attention(need_weights: bool, batch_first: bool, masked: bool, float64: None) -> None:
    torch.manual_seed(0)
    net, x = Attention(need_weights, batch_first, masked), torch.rand(3, 4, 5, 4) * 0.9
    expected = torch.stack([net.train()(task) for task in x])
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(vmap(lambda task: call(net, task)[0])(x), expected)
        torch.testing.assert_close(torch.stack([call(net, task)[0] for task in x]), expected)


def test_learners_of_padded_text_in_every_place() -> None:
    torch.manual_seed(0)
    x, y = tokens(120, 8).numpy(), np.repeat(np.arange(20), 6)
    data = qs.datasets.arrays(x, y).split(seed=0)
    tasks, held_out = (qs.tasks.FewShot(part, ways=2, shots=2, queries=3) for part in data[:2])
    for learner in (qs.learners.ProtoNet(Encoder("padding")), qs.learners.MAML(Encoder("padding"))):
        qs.meta_train(learner, tasks, validation=held_out, validate_every=1, steps=2, meta_batch=2, progress=False)
        assert 0 <= qs.evaluate(learner, held_out, tasks=4).accuracy <= 1
        classifier = qs.FewShotClassifier(copy.deepcopy(learner)).fit(x[:10], y[:10] % 2 + np.arange(10) % 2)
        assert len(classifier.predict(x[:4])) == 4
    assert torch.backends.mha.get_fastpath_enabled()
