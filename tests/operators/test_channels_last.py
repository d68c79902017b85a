"""Maps with channels last: equal to PyTorch's operators, one by one, in derivatives of the second order, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap

from quickstudy.errors import InputError
from quickstudy.operators import convolution, grouping, pooling
from quickstudy.operators.calls import call, conv_norm_pool
from quickstudy.operators.precision import matmuls_in

Maps = Callable[..., Tensor]

CONVOLUTIONS = [
    {"padding": 1},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": (1, 2)},
    {"stride": (2, 1)},
    {"groups": 2},
]
POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "ceil_mode": True},
    {"kernel_size": (2, 3), "stride": 1, "dilation": (2, 1)},
]


def meta_gradient(function: Maps, theta: Tensor, x: Tensor, per_task: bool) -> Tensor:
    """Return the gradient of a loss after one gradient step, summed over tasks: second derivatives of `function`."""

    def loss(theta: Tensor, x: Tensor) -> Tensor:
        inner = grad(lambda t: function(x, t).pow(3).sum())(theta)
        return function(x.flip(0), theta - 0.1 * inner).pow(2).sum()

    theta = theta.clone().requires_grad_()
    if per_task:
        total = vmap(loss, in_dims=(None, 0))(theta, x).sum()
    else:
        total = torch.stack([loss(theta, each) for each in x]).sum()
    return torch.autograd.grad(total, theta)[0]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolutions_equal_torch(options: dict[str, object], float64: None) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 7, 6)
    weight = torch.randn(6, 4 // int(str(options.get("groups", 1))), 3, 3)
    bias = torch.randn(6)

    def reference(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, bias, **options)

    def ours(x: Tensor, w: Tensor) -> Tensor:
        return convolution.conv2d(x, w, bias, **options)

    torch.testing.assert_close(ours(x[0], weight), reference(x[0], weight))
    expected = meta_gradient(reference, weight, x, per_task=False)
    torch.testing.assert_close(meta_gradient(ours, weight, x, per_task=False), expected)
    torch.testing.assert_close(meta_gradient(ours, weight, x, per_task=True), expected)


def test_a_convolution_of_one_map_with_kernels_of_many_tasks(float64: None) -> None:
    x, weights, biases = torch.randn(2, 3, 5, 5), torch.randn(4, 6, 3, 3, 3), torch.randn(4, 6)
    together = vmap(lambda w, b: convolution.conv2d(x, w, b))(weights, biases)
    torch.testing.assert_close(together, torch.stack([F.conv2d(x, w, b) for w, b in zip(weights, biases, strict=True)]))


@pytest.mark.parametrize("options", POOLS, ids=str)
def test_pooling_equals_torch(options: dict[str, object], float64: None) -> None:
    torch.manual_seed(0)
    x, scale = torch.randn(3, 2, 4, 7, 6), torch.randn(4, 1, 1)

    def reference(x: Tensor, t: Tensor) -> Tensor:
        return F.max_pool2d((x * t).sin(), **options)

    def ours(x: Tensor, t: Tensor) -> Tensor:
        return pooling.max_pool2d((x * t).sin(), **options)

    expected = meta_gradient(reference, scale, x, per_task=False)
    torch.testing.assert_close(meta_gradient(ours, scale, x, per_task=False), expected)
    torch.testing.assert_close(meta_gradient(ours, scale, x, per_task=True), expected)


@pytest.mark.parametrize(("weighted", "biased"), [(True, True), (False, False), (True, False), (False, True)])
def test_group_norm_equals_torch(weighted: bool, biased: bool, float64: None) -> None:
    torch.manual_seed(0)
    x, theta = torch.randn(3, 2, 4, 5, 3), torch.randn(2, 4)

    def norm(function: Maps) -> Maps:
        """With weights, of which an inner step makes each task its own, where they are asked for."""

        def apply(x: Tensor, t: Tensor) -> Tensor:
            weight, bias = t[0] if weighted else None, t[1] if biased else None
            return function(x * t[0].reshape(4, 1, 1).sin(), 2, weight, bias, 1e-3)

        return apply

    def reference(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        # With a bias and no weight PyTorch's has no second derivative.
        return F.group_norm(x, groups, torch.ones(4) if weight is None else weight, bias, eps)

    expected = meta_gradient(norm(reference), theta, x, per_task=False)
    torch.testing.assert_close(meta_gradient(norm(grouping.group_norm), theta, x, per_task=False), expected)
    torch.testing.assert_close(meta_gradient(norm(grouping.group_norm), theta, x, per_task=True), expected)
    together = vmap(norm(grouping.group_norm), in_dims=(0, None))(x, theta)
    torch.testing.assert_close(together, torch.stack([norm(F.group_norm)(each, theta) for each in x]))


def test_group_norm_of_one_map_with_weights_of_many_tasks(float64: None) -> None:
    x, weights, biases = torch.randn(2, 6, 5, 5), torch.randn(4, 6), torch.randn(4, 6)
    together = vmap(lambda w, b: grouping.group_norm(x, 3, w, b))(weights, biases)
    each = [F.group_norm(x, 3, w, b) for w, b in zip(weights, biases, strict=True)]
    torch.testing.assert_close(together, torch.stack(each))
    # A gradient of each task's own, of tasks of tasks, too.
    gradient = grad(lambda w, x: grouping.group_norm(x, 3, w).pow(3).sum())
    nested = vmap(vmap(gradient), in_dims=(0, None))(weights.reshape(2, 2, 6), torch.stack([x, x + 1]))
    for i in range(2):
        for j in range(2):
            torch.testing.assert_close(nested[i, j], gradient(weights[2 * i + j], x + j))


@pytest.mark.parametrize("mean", [0.0, 30.0, 1000.0])
def test_group_norm_of_large_means_keeps_its_digits(mean: float) -> None:
    torch.manual_seed(0)
    x = mean + torch.randn(4, 6, 8, 8)
    weight, g = torch.randn(6), torch.randn(4, 6, 8, 8)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone().requires_grad_()
        y = norm(x, 2, weight.to(x.dtype))
        return y.detach(), torch.autograd.grad((y * g.to(x.dtype)).sum(), x)[0]

    norm = F.group_norm
    expected = both(x.double())
    norm = grouping.group_norm  # type: ignore[assignment]
    for found, wanted in zip(both(x), expected, strict=True):
        torch.testing.assert_close(found, wanted.float(), rtol=1e-3, atol=2e-4)
    of_task = vmap(grad(lambda x: (norm(x, 2, weight) * g[:2]).sum()))(torch.stack([x[:2], x[:2]]))
    torch.testing.assert_close(of_task[1], expected[1][:2].float(), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("sides", [(3, 3), (), (7,), (2, 3, 2)])
def test_third_derivatives_of_group_norm(sides: tuple[int, ...], float64: None) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, *sides, requires_grad=True), torch.randn(4, requires_grad=True)
    # Unlike factors, since a gradient's plain sum is 0: moving all of x changes nothing.
    factors, found = torch.randn(3, 4, *sides), []
    for norm in (grouping.group_norm, F.group_norm):
        # A large epsilon keeps derivatives, and with them their rounding, small.
        value = norm(x, 2, weight, eps=0.5).pow(3).sum()
        for _ in range(3):
            value = torch.autograd.grad(value, x, create_graph=True)[0].mul(factors).sin().sum()
        found.append(torch.autograd.grad(value, (x, weight)))
    assert all(float(each.abs().max()) > 1e-3 for each in found[1])
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)


def test_group_norm_is_torchs_at_the_edges() -> None:
    x = torch.randn(2, 4, 3, 3)
    for norm in (grouping.group_norm, F.group_norm):
        assert norm(x[:0], 2).shape == (0, 4, 3, 3)
        assert norm(x.bfloat16(), 2, torch.ones(4)).dtype == torch.bfloat16
        with pytest.raises(RuntimeError, match="divisible"):
            norm(x, 3)
        with pytest.raises(RuntimeError, match="weight"):
            norm(x, 2, torch.ones(1))
    weights, empty = torch.ones(2, 4), x[:, :, :0]
    try:
        F.group_norm(empty, 2)
    except RuntimeError:  # PyTorch from 2.14 on refuses maps without positions
        with pytest.raises(RuntimeError, match="HxW"):
            vmap(lambda w: grouping.group_norm(empty, 2, w))(weights)
    else:
        assert vmap(lambda w: grouping.group_norm(empty, 2, w))(weights).shape == (2, 2, 4, 0, 3)


def test_moments_equal_torch(float64: None) -> None:
    torch.manual_seed(0)
    x, scale = torch.randn(3, 2, 4, 7, 6), torch.randn(4, 1, 1)

    def reference(x: Tensor, t: Tensor) -> Tensor:
        var, mean = torch.var_mean((x * t).sin(), (0, 2, 3), correction=0)
        return torch.cat([mean, var.sqrt()])

    def ours(x: Tensor, t: Tensor) -> Tensor:
        mean, var = pooling.moments((x * t).sin())
        return torch.cat([mean, var.sqrt()])

    torch.testing.assert_close(ours(x[0], scale), reference(x[0], scale))
    expected = meta_gradient(reference, scale, x, per_task=False)
    torch.testing.assert_close(meta_gradient(ours, scale, x, per_task=False), expected)
    torch.testing.assert_close(meta_gradient(ours, scale, x, per_task=True), expected)


def test_moments_of_large_means_keep_their_digits() -> None:
    x = 1000 + torch.randn(50, 3, 8, 8)
    _, var = pooling.moments(x)
    torch.testing.assert_close(var, x.double().var((0, 2, 3), correction=0).float(), rtol=1e-3, atol=0)


class Block(nn.Module):
    """Convolution, batch norm and pooling, together or one after the other."""

    def __init__(self, together: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.together = nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), together
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.0, -0.5, 2.0, -1.5, 0.3]))
            self.norm.bias.normal_()

    def forward(self, x: Tensor) -> Tensor:
        if self.together:
            return conv_norm_pool(x, self.conv, self.norm)
        return F.max_pool2d(self.norm(self.conv(x)), 2)


@pytest.mark.parametrize("masked", [False, True])
def test_a_block_pooled_before_its_norm_is_the_same(masked: bool, float64: None) -> None:
    torch.manual_seed(0)
    fused, plain = Block(True), Block(False)
    plain.load_state_dict(fused.state_dict())
    x, query = torch.randn(4, 2, 6, 6), torch.randn(3, 2, 6, 6)
    mask = torch.tensor([True, True, False, True]) if masked else None
    results = []
    for net in (fused, plain):
        output, statistics = call(net, x, mask=mask)
        held, _ = call(net, query, given=statistics)
        gradients = torch.autograd.grad((output.square().sum() + held.pow(3).sum()), list(net.parameters()))
        results.append((output, statistics, held, gradients))
    torch.testing.assert_close(*results)


def test_a_block_outside_a_call_is_ordinary(float64: None) -> None:
    net = Block(True)
    x = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(net(x), F.max_pool2d(net.norm(net.conv(x)), 2))


def test_maps_of_a_wrong_shape_get_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        convolution.conv2d(torch.randn(1, 2, 5, 5), torch.randn(4, 3, 3, 3))
    with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
        convolution.conv2d(torch.randn(1, 3, 2, 2), torch.randn(4, 3, 3, 3))


@pytest.mark.parametrize("together", [False, True])
def test_frozen_norms_use_their_running_averages(together: bool, float64: None) -> None:
    torch.manual_seed(0)
    net = Block(together)
    net(torch.randn(20, 2, 6, 6))
    averages = net.norm.running_mean.clone()  # type: ignore[union-attr]
    x = torch.randn(3, 2, 6, 6)
    output, _ = call(net, x, given="frozen")
    assert torch.equal(net.norm.running_mean, averages), "never written"  # type: ignore[arg-type]
    torch.testing.assert_close(output, net.eval()(x))


def test_frozen_norms_need_running_averages() -> None:
    net = nn.BatchNorm1d(3, track_running_stats=False)
    with pytest.raises(InputError, match="needs running averages"):
        call(net, torch.randn(4, 3), given="frozen")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matmuls_in_fewer_bits(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(Block(True), nn.Flatten(), nn.Linear(45, 4)), torch.randn(6, 2, 6, 6)
    exact, _ = call(net, x)
    with matmuls_in(dtype):
        rounded, _ = call(net, x)
        gradient = torch.autograd.grad(rounded.square().sum(), net.parameters(), allow_unused=True)
    assert rounded.dtype == torch.float32
    assert all(g is None or g.dtype == torch.float32 for g in gradient)
    gap = float((rounded - exact).detach().abs().max())
    assert (gap == 0) if dtype == torch.float32 else (0 < gap < 0.1)
    again, _ = call(net, x)
    assert torch.equal(again, exact), "only inside"
