"""Siamese networks: learn from pairs which drawings are of one class.

Contrastive loss (Hadsell, Chopra & LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping",
equation 4): mean over pairs of  same d^2 + different max(0, margin - d)^2.
Triplet loss (Schroff et al. 2015, "FaceNet", equation 3): mean over triplets of max(0, d(a,p)^2 - d(a,n)^2 + margin).
Pairs are of each query (the anchor) with each support row. Learned across tasks: the embedding. A query gets the class
of its nearest support row (Koch et al. 2015), with softmax over -d^2 as probabilities. Departures: distance rather
than Koch's learned weighted L1; the contrastive pairs of the two kinds weigh the same however many ways there are, and
without the factor 1/2; all triplets of a query count, none is mined.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, masked_mean
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.classes import mask_absent, one_hot, outside, present
from quickstudy.functional.distances import squared_euclidean, unit
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Gallery(NamedTuple):
    """The state of one task: its embedded support."""

    features: Tensor
    """(S, D) features of the support rows."""
    indicators: Tensor
    """(S, N) one-hot classes, zero in padding rows."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register(
    "learner",
    family="metric",
    learns="an embedding",
    paper="Hadsell et al. 2006; Koch et al. 2015",
    tasks="classification",
)
class Siamese(EmbeddingLearner):
    """Nearest support row in an embedding trained on pairs or triplets.

    Args:
        net: embedding module.
        objective: 'contrastive' or 'triplet'.
        margin: of either loss, in units of distance (contrastive) or squared distance (triplet).
        normalise: put embeddings on the unit sphere, so that a margin of 1 or less means the same for any net.
        batch_norm: 'support' or 'transductive'.
    """

    compares_rows = True

    def __init__(
        self,
        net: nn.Module,
        objective: Literal["contrastive", "triplet"] = "contrastive",
        margin: float = 1.0,
        normalise: bool = True,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, batch_norm)
        if objective not in ("contrastive", "triplet"):
            raise unknown_name("objective", objective, ("contrastive", "triplet"))
        if margin <= 0:
            raise InputError(f"margin must be positive, not {margin}")
        self.objective, self.margin, self.normalise = objective, margin, normalise

    def adapt(self, support: Examples) -> Gallery:
        """Embed the support."""
        features, statistics = self.embed_support(support)
        features = unit(features) if self.normalise else features
        return Gallery(features, one_hot(support, features.dtype), present(support), statistics)

    def distances(self, state: Gallery, inputs: Any) -> Tensor:
        """Return (Q, S) squared distances of queries to support rows."""
        features = self.embed(inputs, state.statistics)
        features = unit(features) if self.normalise else features
        return squared_euclidean(features, state.features)

    def predict(self, state: Gallery, inputs: Any) -> Tensor:
        """Return (Q, N) logits, minus the squared distance to the nearest row of each class."""
        far = outside(state.indicators)
        nearest = (far - self.distances(state, inputs).unsqueeze(-1)).amax(1)
        return mask_absent(nearest, state.present)

    def loss(self, state: Gallery, query: Examples) -> Tensor:
        """Return the contrastive or triplet loss of the query rows as anchors."""
        squared = self.distances(state, query.inputs)
        valid = (state.indicators.sum(-1) > 0).to(squared.dtype)
        same = state.indicators.mT[query.labels]
        different = valid - same
        if self.objective == "contrastive":
            # A tiny offset keeps the root's derivative finite at d = 0.
            push = F.relu(self.margin - (squared + 1e-12).sqrt()).square()
            losses = _row_mean(squared, same) + _row_mean(push, different)
        else:
            triplets = F.relu(squared.unsqueeze(-1) - squared.unsqueeze(-2) + self.margin)
            weights = same.unsqueeze(-1) * different.unsqueeze(-2)
            losses = _row_mean(triplets.flatten(1), weights.flatten(1))
        return masked_mean(losses, query.mask)


def _row_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum(-1) / weights.sum(-1).clamp_min(1)
