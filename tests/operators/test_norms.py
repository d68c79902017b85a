"""What a batch norm policy covers: every norm that keeps statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

import quickstudy as qs
from quickstudy.operators.calls import call, uses_batch_statistics
from quickstudy.operators.internals import AnyNorm

pytestmark = pytest.mark.usefixtures("float64")


class Subclass(AnyNorm):
    """A norm of the user's, made from PyTorch's base."""

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.ndim == 4

    def forward(self, input: Tensor) -> Tensor:
        batch = self.training or self.running_mean is None
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, batch, self.momentum)


class WithActivation(nn.BatchNorm2d):
    """As in timm: counts batches and normalises itself, then activates."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return F.relu(x)


class Functional(nn.Module):
    """Calls the function with buffers of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.average, self.spread, self.scale, None, self.training)


def normed(x: Tensor, layer: Functional) -> Tensor:
    return F.batch_norm(x, layer.average, layer.spread, layer.scale, None, layer.training)


class ThroughAHelper(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return normed(x, self)


class FrozenByDesign(nn.Module):
    """As in torchvision: its scale is a buffer, and its own maths uses the averages."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)
        for name in ("bias", "running_mean"):
            self.register_buffer(name, torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


class FrozenByCall(FrozenByDesign):
    """As in Detectron: the function, never in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False)


def spectral(channels: int) -> nn.Module:
    return torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(channels, channels, 1))


def old_spectral(channels: int) -> nn.Module:
    return torch.nn.utils.spectral_norm(nn.Conv2d(channels, channels, 1))


def lazy(channels: int) -> nn.Module:
    layer = nn.LazyBatchNorm2d()
    layer(torch.randn(2, channels, 3, 3))
    return layer


def instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def synchronised(channels: int) -> nn.Module:
    return nn.SyncBatchNorm(channels)


COVERED: list[Callable[[int], nn.Module]] = [
    *(nn.BatchNorm2d, synchronised, lazy, instance, Subclass, WithActivation, Functional, ThroughAHelper),
]
FIXED: list[Callable[[int], nn.Module]] = [FrozenByDesign, FrozenByCall, spectral, old_spectral]


def net_with(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """Return a net whose running averages are those of data, in training mode."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), norm(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).train()
    for _ in range(3):
        net(1 + 2 * torch.randn(8, 1, 6, 6))
    return net


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [*COVERED, *FIXED])
def test_frozen_is_evaluation_mode(norm: Callable[[int], nn.Module], training: bool) -> None:
    net, x = net_with(norm), torch.randn(5, 1, 6, 6)
    expected = net.eval()(x)
    net.train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.testing.assert_close(call(net, x, given="frozen")[0], expected, rtol=0, atol=1e-12)
    found = vmap(lambda rows: call(net, rows, given="frozen")[0])(torch.stack([x, x]))
    torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("policy", ["frozen", "support"])
@pytest.mark.parametrize("norm", COVERED)
def test_a_learner_knows_its_policy(norm: Callable[[int], nn.Module], policy: str) -> None:
    net, labels = net_with(norm), torch.arange(6) % 3
    assert uses_batch_statistics(net)
    learner = qs.learners.ProtoNet(net, batch_norm=policy)  # type: ignore[arg-type]
    assert learner.batch_norm == policy
    support, x = torch.randn(6, 1, 6, 6), torch.randn(4, 1, 6, 6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = learner.predict(learner.adapt(qs.Examples(support, labels)), x)
    # A query alone is predicted as in company.
    alone = learner.predict(learner.adapt(qs.Examples(support, labels)), x[:1])
    torch.testing.assert_close(alone, found[:1], rtol=0, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for name, value in net.named_buffers():
        if value.is_floating_point() and name.startswith("1."):
            value.add_(1)
    moved = learner.predict(learner.adapt(qs.Examples(support, labels)), x)
    assert torch.equal(moved, found) == (policy == "support")


@pytest.mark.parametrize("norm", FIXED)
def test_layers_that_take_no_statistics_have_no_policy(norm: Callable[[int], nn.Module]) -> None:
    net, x = net_with(norm), torch.randn(5, 1, 6, 6)
    assert not uses_batch_statistics(net)
    assert qs.learners.ProtoNet(net).batch_norm == "none"
    expected = net.eval()(x)
    torch.testing.assert_close(call(net, x)[0], expected, rtol=0, atol=1e-12)
