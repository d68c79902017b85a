"""The base of learners that believe in a distribution of the head, the last layer on learned features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Output
from quickstudy.errors import InputError
from quickstudy.functional.averaging import average_logits, each
from quickstudy.functional.predictive import Gaussian
from quickstudy.learners.bases.labelled import LabelledLearner
from quickstudy.operators.calls import BatchNormPolicy


class HeadBeliefLearner(LabelledLearner):
    """Base of learners that predict with all heads they believe in: classes by draws, targets in closed form.

    A subclass's state has `draws`, heads (L, D + 1, outputs) or empty for regression, `present` and `statistics`.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size D of the embedding; None reads it from `net.features`.
        samples: draws L of the head that a classification averages over.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: a number that is not positive, or the size of the embedding is not known.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None,
        samples: int,
        noise: float,
        batch_norm: BatchNormPolicy,
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if min(samples, noise) <= 0:
            raise InputError(f"{samples=} and {noise=} must be positive")
        self.samples = samples
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))

    @property
    def stochastic(self) -> bool:
        """True: heads of classes are drawn."""
        return True

    def predict(self, state: Any, inputs: Any) -> Output:
        """Return log-probabilities (Q, N), or a Gaussian (Q, outputs) for regression."""
        features = with_bias(self.embed(inputs, state.statistics))
        if not isinstance(state.draws, Tensor):
            return self.marginal(state, features)
        return average_logits(
            each(lambda head: self.answer(features.to(head.dtype) @ head, state.present), state.draws)
        )

    def marginal(self, state: Any, features: Tensor) -> Gaussian:
        """Return the prediction (Q, outputs) for features (Q, D + 1) under all heads, with the noise of targets."""
        raise NotImplementedError


def with_bias(features: Tensor) -> Tensor:
    """Return features (rows, D + 1), the last of which is 1."""
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)


def drawn(key: Tensor | None) -> Tensor:
    """Return the key that heads are drawn with.

    Raises:
        InputError: there is none.
    """
    if key is None:
        raise InputError("heads are drawn through a key: adapt(support, quickstudy.functional.random.key(0))")
    return key
