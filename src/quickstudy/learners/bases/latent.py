"""The base of latent neural processes: a latent variable z, drawn through a key, with a prior from the support."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, State
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian, GaussianMixture
from quickstudy.learners.bases.neural_process import NeuralProcess, masked_row_mean, perceptron


class LatentNeuralProcess(NeuralProcess):
    """Base of neural processes with a latent variable, trained by the ELBO (`objectives.elbo`).

    Args:
        inputs: numbers a row of inputs has.
        outputs: targets a row has.
        width: of every hidden layer, of the representation and of z.
        samples: draws of z that a prediction averages over, L.
        least_std: smallest standard deviation that can be predicted.
    """

    default_objective = "elbo"

    def __init__(self, inputs: int, outputs: int, width: int, samples: int, least_std: float) -> None:
        super().__init__(inputs, outputs, width, least_std)
        self.samples = samples
        self.latent_encoder = perceptron(inputs + outputs, width, width, width)
        self.latent_head = perceptron(width, width, 2 * width)

    @property
    def stochastic(self) -> bool:
        """True: z is drawn."""
        return True

    def latent(self, examples: Examples) -> Gaussian:
        """Return q(z | examples), a Gaussian (width,)."""
        summary = masked_row_mean(self.latent_encoder(self.pairs(examples)), examples.mask)
        mean, spread = self.latent_head(summary).chunk(2, -1)
        return Gaussian(mean, 0.1 + 0.9 * torch.sigmoid(spread))

    def given(self, support: Examples, z: Tensor) -> State:
        """Return the state of a support with draws z (L, width)."""
        raise NotImplementedError

    def adapt(self, support: Examples, key: Tensor | None = None) -> State:
        """Draw z from q(z | support)."""
        if key is None:
            raise InputError("z is drawn through a key: adapt(support, quickstudy.functional.random.key(0))")
        prior = self.latent(support)
        noise = random.normal(key, self.samples, self.width, dtype=prior.mean.dtype)
        return self.given(support, prior.mean + prior.std * noise)

    def mixture(self, decoder_inputs: list[Tensor], z: Tensor, decode: Any) -> GaussianMixture:
        """Return the mixture (Q, L, outputs) of the predictions of every draw z (L, width).

        Args:
            decoder_inputs: what else the decoder reads, each (Q, ...).
            z: draws.
            decode: map from (Q, L, all of these) to (Q, L, 2 outputs).
        """
        count, q = len(z), len(decoder_inputs[0])
        parts = [each.unsqueeze(1).expand(-1, count, -1) for each in decoder_inputs]
        found = self.gaussian(decode(torch.cat([*parts, z.expand(q, -1, -1)], -1)))
        return GaussianMixture(found.mean, found.std, found.mean.new_full((q, count), -math.log(count)))
