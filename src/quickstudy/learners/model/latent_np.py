"""Neural processes.

Garnelo et al. 2018, "Neural Processes", equations 7-9:

    s = mean_i h(x_i, y_i),   z ~ q(z | s) = N(mu(s), sigma(s)),   (mean, std)(x) = g(x, z)
    ELBO = E_q(z | both) [sum over the query of log p(y | x, z)] - KL(q(z | both) || q(z | support))

Learned across tasks: h, mu, sigma and g. The one z of a task makes its predictions agree with each other: each draw is
a whole function. `predict` gives the mixture over `samples` draws. Departure: least standard deviation 0.01, not 0.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from quickstudy.core import Examples
from quickstudy.functional.predictive import GaussianMixture
from quickstudy.learners.bases.latent import LatentNeuralProcess
from quickstudy.learners.bases.neural_process import perceptron
from quickstudy.registry import register


class Draws(NamedTuple):
    """The state of one task."""

    z: Tensor
    """(L, width) draws of the latent variable."""


@register("learner", family="model", learns="how to read a support", paper="Garnelo et al. 2018b", tasks="regression")
class NP(LatentNeuralProcess):
    """Predicts with a decoder of a latent variable that is drawn given the support.

    Args:
        inputs: numbers a row of inputs has.
        outputs: targets a row has.
        width: of every hidden layer and of z.
        samples: draws of z that a prediction averages over, L.
        least_std: smallest standard deviation that can be predicted.
    """

    def __init__(
        self, inputs: int = 1, outputs: int = 1, width: int = 128, samples: int = 16, least_std: float = 0.01
    ) -> None:
        super().__init__(inputs, outputs, width, samples, least_std)
        self.decoder = perceptron(inputs + width, width, width, width, 2 * outputs)

    def given(self, support: Examples, z: Tensor) -> Draws:
        """Keep the draws: all that the decoder reads of the support is in them."""
        return Draws(z)

    def predict(self, state: Draws, inputs: Any) -> GaussianMixture:
        """Return a mixture (Q, outputs) over the draws."""
        return self.mixture([self.rows(inputs)], state.z, self.decoder)
