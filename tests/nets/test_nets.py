"""Backbones: shapes, parts and what they refuse."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.operators.calls import call, uses_batch_statistics
from quickstudy.registry import build as rebuild
from quickstudy.registry import describe


def count(net: nn.Module) -> int:
    return sum(value.numel() for value in net.parameters())


@pytest.mark.parametrize(("size", "channels", "features"), [(28, 1, 64), (84, 3, 1600), (16, 1, 64), (32, 3, 256)])
def test_conv4_is_the_papers(size: int, channels: int, features: int) -> None:
    net = qs.nets.conv4(channels, size=size)
    assert net.features == features
    x = torch.randn(2, channels, size, size)
    assert call(net, x)[0].shape == (2, features)
    # Three convolutions of 64 to 64 filters and one of the input's channels, each with a norm.
    assert count(net) == (9 * channels + 1) * 64 + 3 * (9 * 64 + 1) * 64 + 4 * 128


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
@pytest.mark.parametrize("halve", ["pool", "stride"])
def test_conv4_options(norm: str, halve: str) -> None:
    net = qs.nets.conv4(1, 8, 5, norm=norm, halve=halve, size=20)
    assert call(net, torch.randn(3, 1, 20, 20))[0].shape == (3, 5)
    assert uses_batch_statistics(net) == (norm == "batch")
    if norm != "batch":
        x = torch.randn(3, 1, 20, 20)
        torch.testing.assert_close(net(x)[:1], net(x[:1]))


def test_conv4_pools_before_relu_with_the_same_result() -> None:
    net = qs.nets.conv4(1, 8, norm="none", size=20)
    x = torch.randn(3, 1, 20, 20)
    expected = x
    for conv in net.convs:
        expected = nn.functional.max_pool2d(conv(expected).relu(), 2)
    assert torch.equal(net(x), expected.flatten(1))
    slopes = [torch.autograd.grad(y.square().sum(), net.convs[0].weight)[0] for y in (net(x), expected)]
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected.flatten(1))
    torch.testing.assert_close(*slopes)


def test_conv4_without_flattening_gives_maps() -> None:
    assert qs.nets.conv4(1, 8, size=32, flatten=False)(torch.randn(2, 1, 32, 32)).shape == (2, 8, 2, 2)


def test_conv4_context_scales_and_shifts() -> None:
    net = qs.nets.conv4(1, 8, 3, norm="none", context=4, size=16)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(net(x), net(x, torch.zeros(4)))
    assert not torch.equal(net(x), net(x, torch.ones(4)))


def test_mlp() -> None:
    net = qs.nets.mlp(4, (6, 5), 3)
    assert net(torch.randn(2, 4)).shape == (2, 3)
    assert net(torch.randn(2, 2, 2)).shape == (2, 3)
    assert count(net) == 5 * 6 + 7 * 5 + 6 * 3
    embedding = qs.nets.mlp(4, (6, 5))
    assert embedding.features == 5
    # An embedding ends linear.
    assert bool((embedding(torch.randn(200, 4)) < 0).any())
    context = qs.nets.mlp(1, (6,), 2, context=3)
    x = torch.randn(5, 1)
    assert torch.equal(context(x), context(x, torch.zeros(3)))
    assert not torch.equal(context(x), context(x, torch.ones(3)))
    assert qs.nets.mlp(4, (), 3)(torch.randn(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("mlp", {"inputs": 0}),
        ("mlp", {"inputs": 3, "hidden": (4, -1)}),
        ("mlp", {"inputs": 3, "outputs": 0}),
        ("mlp", {"inputs": 3, "context": -1}),
        ("conv4", {"channels": 0}),
        ("conv4", {"hidden": 0}),
        ("conv4", {"outputs": 0}),
    ],
)
def test_sizes_that_are_not_positive_are_refused(net: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"must be positive|must be 0 or more"):
        getattr(qs.nets, net)(**options)


def test_unknown_halving_is_refused() -> None:
    with pytest.raises(InputError, match="unknown halve 'stried'; did you mean 'stride'"):
        qs.nets.conv4(halve="stried")


def test_resnet12() -> None:
    net = qs.nets.resnet12(3, (4, 6, 8, 10), 5)
    assert net.features == 10
    assert call(net, torch.randn(2, 3, 32, 32))[0].shape == (2, 5)
    # The paper's net has about 12.4 million parameters.
    assert 12.3e6 < count(qs.nets.resnet12()) < 12.5e6


def test_fcn() -> None:
    assert qs.nets.fcn(1, 8, 2, depth=2)(torch.randn(2, 1, 9, 7)).shape == (2, 2, 9, 7)


def test_wrong_arguments() -> None:
    for build, message in (
        (lambda: qs.nets.conv4(size=15), "size=15 is too small for 4 halvings"),
        (lambda: qs.nets.conv4(norm="instance"), "unknown norm 'instance'"),
        (lambda: qs.nets.conv4(outputs=3, flatten=False), "outputs needs flatten=True"),
        (lambda: qs.nets.conv4()(torch.randn(2, 3, 28, 28)), r"built for images \(rows, 1, 28, 28\) but got \(2, 3"),
        (lambda: qs.nets.conv4()(torch.randn(28, 28)), r"but got \(28, 28\)"),
    ):
        with pytest.raises(InputError, match=message):
            build()


@pytest.mark.parametrize("norm", ["group", "layer", "none"])
@pytest.mark.parametrize("grad", [True, False])
def test_conv4_without_batch_norm_is_mapped_over_tasks(norm: str, grad: bool) -> None:
    net = qs.nets.conv4(1, 8, norm=norm, size=16)
    images = torch.rand(3, 2, 1, 16, 16)
    with torch.set_grad_enabled(grad):
        found = torch.func.vmap(lambda rows: call(net, rows)[0])(images)
        expected = torch.stack([call(net, rows)[0] for rows in images])
    torch.testing.assert_close(found, expected)


def test_standardised_features_start_centred_and_are_learned_from_there() -> None:
    images = torch.rand(40, 1, 16, 16)
    net = qs.nets.Standardised(qs.nets.conv4(1, 8, norm="group", size=16)).fit(images)
    features = call(net, images)[0]
    torch.testing.assert_close(features.mean(0), torch.zeros(net.features), atol=1e-5, rtol=0)
    assert float(features.std().detach()) == pytest.approx(1, abs=0.05)
    assert {"shift", "scale"} < {name for name, _ in net.named_parameters()}
    again = rebuild(describe(net))
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(call(again, images)[0], features)
    with pytest.raises(InputError, match="features"):
        qs.nets.Standardised(nn.Flatten())


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("grad", [True, False])
def test_conv4_is_mapped_over_beginnings_within_tasks(norm: str, grad: bool) -> None:
    net = qs.nets.conv4(1, 8, norm=norm, size=16).double()
    images, masks = torch.rand(2, 4, 1, 16, 16).double(), torch.ones(4, 4).tril().bool()

    def one(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return call(net, rows, mask=mask)[0]  # type: ignore[no-any-return]

    with torch.set_grad_enabled(grad):
        found = torch.func.vmap(lambda rows: torch.func.vmap(lambda mask: one(rows, mask))(masks))(images)
        expected = torch.stack([torch.stack([one(rows, mask) for mask in masks]) for rows in images])
    torch.testing.assert_close(found, expected)
    if grad:
        weights = [p for p in net.parameters() if p.requires_grad]
        a, b = (torch.autograd.grad(each.square().sum(), weights, allow_unused=True) for each in (found, expected))
        for x, y in zip(a, b, strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                torch.testing.assert_close(x, y)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_conv_net_is_its_blocks_one_after_the_other(norm: str) -> None:
    net = qs.nets.ConvNet(2, (4, 8, 6), (0, 2), norm=norm, size=9)
    x = torch.randn(5, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    expected = x
    for i, (conv, normed) in enumerate(zip(net.convs, net.norms, strict=True)):
        expected = normed(conv(expected)).relu()
        expected = nn.functional.max_pool2d(expected, 2) if i in (0, 2) else expected
    found = call(net, x)[0]
    assert found.shape == (5, net.features) == (5, 6 * 2 * 2)
    torch.testing.assert_close(found, expected.flatten(1), rtol=1e-4, atol=1e-5)
    assert isinstance(rebuild(describe(net)), qs.nets.ConvNet)


def test_conv_net_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="from 0 to below 2"):
        qs.nets.ConvNet(1, (4, 4), (2,))
    with pytest.raises(InputError, match=r"widths=\(\) one or more"):
        qs.nets.ConvNet(1, ())
    with pytest.raises(InputError, match="too small"):
        qs.nets.ConvNet(1, (4, 4), (0, 1), size=3)
    with pytest.raises(InputError, match="was built for images"):
        qs.nets.ConvNet(1, (4,), (0,), size=8)(torch.zeros(2, 1, 9, 9))
