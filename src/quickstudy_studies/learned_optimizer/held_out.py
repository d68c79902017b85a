"""Twenty problems outside the family that the shipped learned optimiser was meta-trained on.

That family (`recipes.optimizers`): logistic regression, random teachers, perceptrons and a small ConvNet on
scikit-learn's digits, for up to 500 steps. Here are other data everywhere; and other depths, widths, architectures, or
five times as many steps. The list was written down before any optimiser had been run on it, and is not changed by what
any does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from quickstudy_studies.learned_optimizer import held_out_data as data
from quickstudy_studies.learned_optimizer import held_out_nets as nets

HORIZON = 500
"""Steps that meta-training looked at."""
LONG = 5 * HORIZON


@dataclass(frozen=True)
class HeldOut:
    """One problem: data, a net to fit them with, how many steps, and rows a step (None for all)."""

    name: str
    what: str
    data: Callable[[], data.Rows]
    net: Callable[[], nn.Module]
    batch: int | None
    steps: int = HORIZON

    @property
    def long(self) -> bool:
        """Whether it goes on beyond the horizon of meta-training."""
        return self.steps > HORIZON


def _dense(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> Callable[[], nn.Module]:
    return partial(nets.dense, *sizes, activation=activation)


def _sines() -> nn.Module:
    return nn.Sequential(nets.Sine(2, 48, first=True), nets.Sine(48, 48), nets.Sine(48, 48), nn.Linear(48, 3))


def _transformer() -> nn.Module:
    return nets.Transformer(data.letters(data.descriptions()), 32, 2, 16)


def _gru() -> nn.Module:
    return nets.GRU(data.letters(data.zen()), 48)


PROBLEMS = (
    HeldOut("iris-deep", "5 tanh layers of 128", data.iris, _dense(4, *[128] * 4, 3, activation=nn.Tanh), 32),
    HeldOut("wine-wide", "one hidden layer of 512", data.wine, _dense(13, 512, 3), 32),
    HeldOut("cancer-deep", "8 ReLU layers of 48", data.cancer, _dense(30, *[48] * 7, 2), 64),
    HeldOut(
        "friedman-residual",
        "4 residual blocks, layer norm",
        data.friedman,
        partial(nets.residual_mlp, 10, 64, 4, 1),
        64,
    ),
    HeldOut(
        "flower-autoencoder",
        "autoencoder of patches",
        data.flower_patches,
        _dense(64, 128, 8, 128, 64, activation=nn.Tanh),
        64,
    ),
    HeldOut("photographs-batchnorm", "ConvNet with batch norm", data.two_photographs, nets.batch_norm_convnet, 32),
    HeldOut("shapes-layernorm", "ConvNet of 4 layers, layer norm", data.shapes, nets.layer_norm_convnet, 32),
    HeldOut(
        "china-pixels",
        "colours from places, 128 wide",
        partial(data.fourier_pixels, "china.jpg"),
        _dense(64, 128, 128, 128, 3),
        128,
    ),
    HeldOut(
        "ill-conditioned",
        "quadratic of condition 1e4",
        data.ill_conditioned,
        partial(nn.Linear, 128, 1, bias=False),
        None,
    ),
    HeldOut(
        "rosenbrock",
        "Rosenbrock's valley in 20 dimensions",
        partial(data.numbers, 38),
        partial(nets.Rosenbrock, 20),
        None,
    ),
    HeldOut("zen-gru", "GRU, letters", data.zen, _gru, 16),
    HeldOut("descriptions-transformer", "transformer, letters", data.descriptions, _transformer, 16),
    HeldOut(
        "china-factorisation",
        "matrix factorisation of rank 6",
        data.brightness,
        partial(nets.Factors, 32, 48, 6),
        256,
        LONG,
    ),
    HeldOut("moons-deep", "6 ReLU layers of 40", data.moons, _dense(2, *[40] * 5, 2), 32, LONG),
    HeldOut(
        "diabetes-deep", "4 GELU layers of 64", data.diabetes, _dense(10, 64, 64, 64, 1, activation=nn.GELU), 64, LONG
    ),
    HeldOut("flower-sines", "sine layers, colours from places", partial(data.pixels, "flower.jpg"), _sines, 64, LONG),
    HeldOut("shapes-autoencoder", "autoencoder of drawings", data.shapes_copied, _dense(64, 48, 6, 48, 64), 32, LONG),
    HeldOut("cancer-logistic", "logistic regression", data.cancer, partial(nn.Linear, 30, 2), 32, LONG),
    HeldOut("swiss-roll-deep", "5 ReLU layers of 48", data.swiss_roll, _dense(3, *[48] * 4, 1), 32, LONG),
    HeldOut(
        "linnerud-deep",
        "4 tanh layers of 32, 20 rows",
        data.linnerud,
        _dense(3, 32, 32, 32, 3, activation=nn.Tanh),
        None,
        LONG,
    ),
)
