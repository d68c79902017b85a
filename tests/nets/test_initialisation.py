"""Beginnings drawn from keys are those of torch."""

import pytest
import torch
from torch import nn

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets import GRUCell, LSTMCell, conv4, mlp
from quickstudy.nets.initialisation import initialise
from quickstudy.nets.optimizees import CharacterGRU, random_mlps, small_conv

KEYS = random.fold_in(random.key(0), torch.arange(400))

LAYERS = {
    "linear": lambda: nn.Linear(6, 5),
    "no bias": lambda: nn.Linear(6, 5, bias=False),
    "conv1d": lambda: nn.Conv1d(4, 6, 3),
    "conv2d": lambda: nn.Conv2d(2, 4, 3),
    "grouped": lambda: nn.Conv2d(4, 4, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 3, 2),
    "bilinear": lambda: nn.Bilinear(5, 4, 3),
    "embedding": lambda: nn.Embedding(5, 4, padding_idx=1),
    "bag": lambda: nn.EmbeddingBag(5, 4),
    "gru": lambda: nn.GRU(4, 5),
    "lstm cell": lambda: nn.LSTMCell(4, 5),
    "own gru": lambda: GRUCell(4, 5),
    "own lstm": lambda: LSTMCell(4, 5),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "layer norm": lambda: nn.LayerNorm(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "rms norm": lambda: nn.RMSNorm(4),
    "prelu": lambda: nn.PReLU(3),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_begins_as_torchs(layer: str) -> None:
    torch.manual_seed(0)
    theirs = [dict(LAYERS[layer]().named_parameters()) for _ in range(400)]
    ours = initialise(LAYERS[layer](), KEYS)
    assert list(ours) == list(theirs[0])
    for name, drawn in ours.items():
        expected = torch.stack([each[name].detach() for each in theirs])
        assert drawn.shape == expected.shape
        assert drawn.dtype == expected.dtype
        spread = float(expected.std())
        numbers = expected.numel()
        # Five standard errors of a difference of two means; spreads and ends likewise a few percent.
        assert float(drawn.mean()) == pytest.approx(float(expected.mean()), abs=5 * spread * (2 / numbers) ** 0.5)
        assert float(drawn.std()) == pytest.approx(spread, rel=0.06)
        if layer not in ("embedding", "bag"):
            torch.testing.assert_close(drawn.amax(), expected.amax(), rtol=0.01, atol=1e-6)
    if layer == "embedding":
        assert not ours["weight"][:, 1].any()


def test_is_a_function_of_each_key() -> None:
    net = CharacterGRU(9)
    every, one = initialise(net, KEYS[:3]), initialise(net, KEYS[1])
    for name, value in net.named_parameters():
        assert every[name].shape == (3, *value.shape)
        assert torch.equal(every[name][1], one[name])
        assert not torch.equal(every[name][0], every[name][1])


def test_scale_multiplies_what_is_random() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(2, 2))
    plain, scaled = initialise(net, KEYS[:2]), initialise(net, KEYS[:2], torch.tensor([1.0, 3.0]))
    for name, value in plain.items():
        factor = 1.0 if name.startswith("1.") else 3.0
        assert torch.equal(scaled[name][0], value[0])
        torch.testing.assert_close(scaled[name][1], factor * value[1])


def test_frozen_parameters_stay_the_nets() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net[0].weight.requires_grad_(False)
    assert list(initialise(net, KEYS[0])) == ["0.bias", "1.weight", "1.bias"]


def test_double_precision_nets_begin_in_double_precision() -> None:
    assert {value.dtype for value in initialise(nn.Linear(2, 2).double(), KEYS[0]).values()} == {torch.float64}


def test_librarys_nets_are_known() -> None:
    for net in (mlp(2, (3,), 2), conv4(hidden=4, outputs=2, norm="group"), small_conv(1, 8, (4, 4), 3)):
        assert set(initialise(net, KEYS[0])) == {name for name, _ in net.named_parameters()}


def test_unknown_layers_are_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(InputError, match="'1', a Own, has parameters of its own"):
        initialise(nn.Sequential(nn.Linear(1, 1), Own()), KEYS)
    with pytest.raises(InputError, match="the net itself"):
        initialise(Own(), KEYS)


def test_random_mlps_are_of_their_seed_and_range() -> None:
    nets = random_mlps(40, 6, 3, seed=1, depth=(1, 3), width=(4, 20))
    assert [str(net) for net in nets] == [
        str(net) for net in random_mlps(40, 6, 3, seed=1, depth=(1, 3), width=(4, 20))
    ]
    linear = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
    assert {len(layers) for layers in linear} == {2, 3, 4}
    widths = [layer.out_features for layers in linear for layer in layers[:-1]]
    assert 4 <= min(widths) < 7 < 15 < max(widths) <= 20
    assert len({type(net[2]) for net in nets}) == 6
    assert nets[0](torch.zeros(2, 2, 3)).shape == (2, 3)
    with pytest.raises(InputError, match="width"):
        random_mlps(1, 2, 2, width=(9, 8))
    with pytest.raises(InputError, match="unknown activation"):
        small_conv(1, 8, (2,), 2, "step")
