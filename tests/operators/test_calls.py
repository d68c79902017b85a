"""Nets as pure functions: batch statistics, shapes of inputs, and errors that name the layer."""

import re
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from quickstudy.errors import InputError, UnsupportedLayerError
from quickstudy.operators.calls import batch_statistics, call, uses_batch_statistics

pytestmark = pytest.mark.usefixtures("float64")


def norm_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_never_change(training: bool) -> None:
    net = norm_net().train(training)
    before = {name: value.clone() for name, value in net.named_buffers()}
    x = torch.randn(3, 5, 1, 8, 8)
    vmap(lambda rows: call(net, rows)[0])(x)
    call(net, x[0])
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert all(module.training == training for module in net.modules())


def test_mode_is_put_back_after_an_error() -> None:
    net = norm_net().train()
    with pytest.raises(InputError):
        call(net, torch.randn(2, 7, 8, 8))
    assert all(module.training for module in net.modules())


def test_statistics_are_of_the_rows_then_of_those_given() -> None:
    net, support, query = norm_net(), torch.randn(6, 1, 8, 8), 3 + torch.randn(4, 1, 8, 8)
    _, used = call(net, support)
    hidden = net[0](support)
    torch.testing.assert_close(used[0][0], hidden.mean((0, 2, 3)))
    torch.testing.assert_close(used[0][1], hidden.var((0, 2, 3), correction=0))
    assert len(used) == 2
    inductive, again = call(net, query, given=used)
    assert all(torch.equal(a, b) for one, two in zip(used, again, strict=True) for a, b in zip(one, two, strict=True))
    transductive, own = call(net, query)
    assert not torch.allclose(inductive, transductive)
    torch.testing.assert_close(own[0][0], net[0](query).mean((0, 2, 3)))
    # Inductive: a query alone is predicted as in company. Transductive: not.
    torch.testing.assert_close(call(net, query[:1], given=used)[0][0], inductive[0])
    assert not torch.allclose(call(net, query[:1])[0][0], transductive[0])


def test_masked_rows_are_no_part_of_the_statistics() -> None:
    net, rows = norm_net(), torch.randn(6, 1, 8, 8)
    mask = torch.tensor([True, True, False, True, False, True])
    rows[~mask] = 100.0
    output, used = call(net, rows, mask=mask)
    expected, alone = call(net, rows[mask])
    torch.testing.assert_close(output[mask], expected)
    torch.testing.assert_close(used, alone)


def test_statistics_of_no_row_are_finite() -> None:
    mean, var = batch_statistics(torch.randn(3, 2), torch.zeros(3, dtype=torch.bool))
    assert torch.equal(mean, torch.zeros(2))
    assert torch.equal(var, torch.ones(2))


def test_instance_norm_ignores_running_averages() -> None:
    net = nn.InstanceNorm2d(3, track_running_stats=True).train()
    x = torch.randn(2, 3, 4, 4)
    call(net, x)
    assert torch.equal(net.running_mean, torch.zeros(3))
    torch.testing.assert_close(call(net.eval(), x)[0], nn.InstanceNorm2d(3)(x))


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised by batch norm's operator, beside a batch norm layer."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, len(self.weight), -1)
        weight = nn.functional.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias)


@pytest.mark.parametrize("given", [None, "frozen"])
def test_weights_are_standardised_by_themselves(given: Literal["frozen"] | None) -> None:
    net = nn.Sequential(Standardised(1, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(2, 1, 5, 5)
    torch.testing.assert_close(call(net, x, given=given)[0], net.train(given is None)(x))


def test_uses_batch_statistics() -> None:
    assert uses_batch_statistics(norm_net())
    assert not uses_batch_statistics(nn.GroupNorm(1, 2))


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor, extra: float = 0.0) -> Tensor:
        return a - 2 * b + extra


def test_inputs_are_a_tensor_a_tuple_or_a_dict() -> None:
    a, b = torch.randn(3), torch.randn(3)
    assert torch.equal(call(Two(), (a, b))[0], a - 2 * b)
    assert torch.equal(call(Two(), {"b": b, "a": a})[0], a - 2 * b)
    assert torch.equal(call(Two(), a, extra=(b,))[0], a - 2 * b)
    assert torch.equal(call(Two(), (a, b), extra=(1.0,))[0], a - 2 * b + 1)


def test_parameters_are_replaced() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False))
    output, _ = call(net, torch.ones(1, 2), {"1.weight": torch.zeros(1, 2)})
    assert output.item() == 0
    assert net(torch.ones(1, 2)).item() != 0


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Items(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


class Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.total += x.sum()
        return x


@pytest.mark.parametrize("layer", [Branches, Items, Writes])
def test_unsupported_layer_is_named(layer: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), layer()))
    with pytest.raises(UnsupportedLayerError, match=rf"layer '1\.1' \({layer.__name__}\).*freeze it"):
        vmap(lambda rows: call(net, rows)[0])(torch.randn(3, 4, 2))


def test_packed_sequences_are_refused() -> None:
    net = nn.LSTM(2, 3)
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 2), torch.randn(2, 2)])

    class Packs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = net

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(packed)[0].data  # type: ignore[no-any-return]

    with pytest.raises(UnsupportedLayerError, match="pad and mask"):
        call(Packs(), torch.zeros(1))


def test_ordinary_errors_pass() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("a mistake of its own")

    with pytest.raises(ValueError, match="a mistake of its own"):
        call(Fails(), torch.randn(3, 5))


def test_embedding_bag_of_padding_alone_is_zero() -> None:
    for mode in ("sum", "mean", "max"):
        layer = nn.EmbeddingBag(5, 2, mode=mode, padding_idx=1)
        indices = torch.tensor([[1, 1], [1, 3]])
        torch.testing.assert_close(call(layer, indices)[0], layer(indices))


def test_embedding_bag_weights_and_refusals() -> None:
    layer, indices = nn.EmbeddingBag(5, 2, mode="sum"), torch.tensor([[1, 2], [0, 3]])
    weights = torch.randn(2, 2)

    class Weighted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return layer(x, per_sample_weights=weights)  # type: ignore[no-any-return]

    torch.testing.assert_close(call(Weighted(), indices)[0], layer(indices, per_sample_weights=weights))
    with pytest.raises(UnsupportedLayerError, match="without offsets"):
        call(layer, (torch.tensor([1, 2, 3]), torch.tensor([0, 2])))


def test_dropout_draws_in_training_mode() -> None:
    net = nn.LSTM(3, 4, 2, dropout=0.5)
    x = torch.randn(5, 2, 3)
    assert not torch.equal(call(net.train(), x)[0][0], call(net, x)[0][0])
    assert torch.equal(call(net.eval(), x)[0][0], call(net, x)[0][0])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


@pytest.mark.parametrize(
    ("net", "inputs", "layer"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), torch.zeros(4, 8), r"'1' \(Linear\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.zeros(4, 1, 8, 8), r"'0' \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(4, 3), r"'0' \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(4, 3, 2, 2), r"'0' \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(4, 3, 8, 8, dtype=torch.uint8), r"'0' \(Conv2d\)"),
        (nn.Sequential(nn.Linear(8, 2)), torch.zeros(4, 8, dtype=torch.float64), r"'0' \(Linear\)"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm2d(3)), torch.zeros(4, 3), r"'1' \(BatchNorm2d\)"),
        (nn.LayerNorm(5), torch.zeros(4, 3), r"'net' \(LayerNorm\)"),
        (Recurrent(), torch.zeros(4, 6, 2), r"'cell' \(LSTM\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(net: nn.Module, inputs: Tensor, layer: str) -> None:
    shape = re.escape(f"{tuple(inputs.shape)} of {inputs.dtype}")
    with pytest.raises(InputError, match=rf"does not take inputs {shape}: layer {layer} says .*build the net to match"):
        call(net, inputs)
    batch = torch.stack([inputs, inputs])
    with pytest.raises(InputError, match=rf"does not take inputs {shape}: layer {layer}"):
        vmap(lambda one: call(net, one)[0])(batch)


class Pair(nn.Module):
    """Takes two inputs."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def test_inputs_of_another_structure_are_named() -> None:
    for inputs in (torch.zeros(3, 2), {"a": torch.zeros(3, 2)}, (torch.zeros(3, 2),) * 3):
        with pytest.raises(InputError, match=r"layer 'net' \(Pair\) says .*forward\(\) (missing|takes)"):
            call(Pair(), inputs)
    with pytest.raises(InputError, match=r"does not take inputs \['c'\] \(3, 2\) .*unexpected keyword argument 'c'"):
        call(nn.Linear(2, 2), {"c": torch.zeros(3, 2)})


def test_arrays_are_refused() -> None:
    with pytest.raises(InputError, match=r"inputs are a NumPy array.*torch\.as_tensor"):
        call(nn.Linear(2, 2), np.zeros((3, 2)))
