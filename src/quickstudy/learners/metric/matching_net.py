"""Matching networks.

Vinyals et al. 2016, "Matching Networks for One Shot Learning", equation 1 and section 2.1.1:

    P(y | x, S) = sum_i a(x, x_i) y_i,   a = softmax over i of cosine(f(x), g(x_i))

With full-context embeddings (appendix A) g reads the whole support with a bidirectional LSTM, in the order given, and
f is an LSTM with attention over the support, run for `reads` steps (equations 3-6):

    r_k-1 = sum_i softmax_i(h_k-1 . g(x_i)) g(x_i),   h_k = LSTM(f'(x), [h_k-1, r_k-1], c_k-1) + f'(x)

from h_0 = f'(x), c_0 = 0. Learned across tasks: f and g. Departure: a learned scale, from 10, multiplies the
cosines (the paper has none), since a bare softmax of numbers in [-1, 1] cannot be sharp.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import hidden, mask_absent, one_hot, outside, present
from quickstudy.functional.distances import cosine
from quickstudy.functional.numbers import whole
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.operators.calls import BatchNormPolicy, Statistics, call
from quickstudy.registry import register


class Support(NamedTuple):
    """The state of one task: its embedded support."""

    features: Tensor
    """(S, D) features of the support rows."""
    indicators: Tensor
    """(S, N) one-hot classes, zero in padding rows."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="metric", learns="an embedding", paper="Vinyals et al. 2016", tasks="classification")
class MatchingNet(EmbeddingLearner):
    """Attention over the support in a learned embedding.

    Args:
        net: embedding module.
        full_context: embed support and queries in the context of the whole support; needs `features`.
        features: size D of the embedding; None reads it from `net.features`.
        reads: attention steps of a query's embedding.
        batch_norm: 'support' or 'transductive'.
    """

    compares_rows = True

    def __init__(
        self,
        net: nn.Module,
        full_context: bool = False,
        features: int | None = None,
        reads: int = 5,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, batch_norm)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.full_context, self.reads = full_context, reads
        if full_context:
            size = features if features is not None else getattr(net, "features", None)
            if not isinstance(size, int):
                raise InputError("full_context needs the size of the embedding: pass features=...")
            whole("features", size)
            self.g = nn.LSTM(size, size, bidirectional=True)
            # A gate is linear in all that it reads, so r may come in beside f'(x) as well as beside h.
            self.f = nn.LSTMCell(2 * size, size)

    @property
    def permutation_invariant(self) -> bool:
        """The bidirectional LSTM reads the support in order."""
        return not self.full_context

    def adapt(self, support: Examples) -> Support:
        """Embed the support."""
        features, statistics = self.embed_support(support)
        if self.full_context:
            features = self._in_context(features, support.mask)
        return Support(features, one_hot(support, features.dtype), present(support), statistics)

    def predict(self, state: Support, inputs: Any) -> Tensor:
        """Return (Q, N) log-probabilities."""
        features = self.embed(inputs, state.statistics)
        if self.full_context:
            features = self._read(features, state)
        scores = self.log_scale.exp() * cosine(features, state.features)
        rows = state.indicators.sum(-1) > 0
        attention = F.log_softmax(hidden(scores, rows), -1)
        # log sum_i a_i y_ik, summed in the log domain so that small probabilities keep their gradient.
        per_class = attention.unsqueeze(-1) + outside(state.indicators)
        return mask_absent(torch.logsumexp(per_class, 1), state.present)

    def _in_context(self, features: Tensor, mask: Tensor | None) -> Tensor:
        def read(rows: Tensor) -> tuple[Tensor, Tensor]:
            (outputs, _), _ = call(self.g, rows.unsqueeze(1))
            forth, back = outputs.squeeze(1).chunk(2, -1)
            return forth, back

        if mask is None:
            forth, back = read(features)
        else:
            # Each direction reads padding after all real rows, so that these know nothing of it.
            real_first, real_last = (~mask).long().argsort(stable=True), mask.long().argsort(stable=True)
            forth = read(features[real_first])[0][real_first.argsort()]
            back = read(features[real_last])[1][real_last.argsort()]
        return features + forth + back

    def _read(self, features: Tensor, state: Support) -> Tensor:
        rows = state.indicators.sum(-1) > 0
        h, c = features, torch.zeros_like(features)
        for _ in range(self.reads):
            scores = h @ state.features.mT
            attention = torch.softmax(hidden(scores, rows), -1)
            read = attention @ state.features
            (h, c), _ = call(self.f, (torch.cat([features, read], -1), (h, c)))
            h = h + features
        return h
