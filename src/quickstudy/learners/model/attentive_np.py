"""Attentive neural processes.

Kim et al. 2019, "Attentive Neural Processes", section 3:

    r*(x) = multi-head attention of query a(x) over keys a(x_i) and values r_i = h(x_i, y_i)
    z ~ q(z | s),   (mean, std)(x) = g(x, r*(x), z)
    ELBO = E_q(z | both) [sum over the query of log p(y | x, r*, z)] - KL(q(z | both) || q(z | support))

Learned across tasks: all of these maps. A query attends to the support points that matter to it, so that predictions
pass through them, where a mean over all (CNP, NP) underfits. Departures: neither path has self-attention among the
support. The maps to queries and to keys begin equal. The least standard deviation is 0.01, not 0.1. The likelihood is
that of the query alone. The paper's targets include the support, but attention would copy the noise of these.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.attention import attend, join_heads, split_heads
from quickstudy.functional.predictive import GaussianMixture
from quickstudy.learners.bases.latent import LatentNeuralProcess
from quickstudy.learners.bases.neural_process import perceptron
from quickstudy.registry import register


class Attended(NamedTuple):
    """The state of one task."""

    keys: Tensor
    """(heads, S, width / heads) keys of the support rows."""
    values: Tensor
    """(heads, S, width / heads) values of the support rows."""
    rows: Tensor
    """(S,) False in padding rows."""
    z: Tensor
    """(L, width) draws of the latent variable."""


@register("learner", family="model", learns="how to read a support", paper="Kim et al. 2019", tasks="regression")
class AttentiveNP(LatentNeuralProcess):
    """A neural process whose queries attend to the support.

    Args:
        inputs: numbers a row of inputs has.
        outputs: targets a row has.
        width: of every hidden layer, of the representation and of z.
        heads: of the attention; must divide the width.
        samples: draws of z that a prediction averages over, L.
        least_std: smallest standard deviation that can be predicted.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        width: int = 128,
        heads: int = 8,
        samples: int = 16,
        least_std: float = 0.01,
    ) -> None:
        super().__init__(inputs, outputs, width, samples, least_std)
        if heads < 1 or width % heads:
            raise InputError(f"heads={heads} must divide width={width}")
        self.heads = heads
        self.encoder = perceptron(inputs + outputs, width, width, width)
        self.address = perceptron(inputs, width, width)
        self.to_queries, self.to_keys, self.to_values, self.join = (nn.Linear(width, width) for _ in range(4))
        # Queries and keys begin as the same map, so that attention begins as a comparison of inputs.
        self.to_queries.load_state_dict(self.to_keys.state_dict())
        self.decoder = perceptron(inputs + 2 * width, width, width, width, 2 * outputs)

    def given(self, support: Examples, z: Tensor) -> Attended:
        """Prepare keys and values of the support."""
        keys = self.to_keys(self.address(self.rows(support.inputs)))
        values = self.to_values(self.encoder(self.pairs(support)))
        return Attended(split_heads(keys, self.heads), split_heads(values, self.heads), support.counted, z)

    def predict(self, state: Attended, inputs: Any) -> GaussianMixture:
        """Return a mixture (Q, outputs) over the draws."""
        x = self.rows(inputs)
        queries = split_heads(self.to_queries(self.address(x)), self.heads)
        read = self.join(join_heads(attend(queries, state.keys, state.values, state.rows)))
        return self.mixture([x, read], state.z, self.decoder)
