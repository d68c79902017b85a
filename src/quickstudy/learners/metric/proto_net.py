"""Prototypical networks.

Snell, Swersky & Zemel 2017, "Prototypical Networks for Few-shot Learning", equations 1 and 2:

    c_k = mean of f(x_i) over the support of class k
    p(y = k | x) = softmax_k(-d(f(x), c_k))

Learned across tasks: the embedding f. d is the squared Euclidean distance; cosine is an option, with a learned
scale, from 10, because cosines alone are too close together for a softmax. Distances may be scaled, too (Oreshkin et
al. 2018, "TADAM", section 3.1, metric scaling): those of many features are far apart for a softmax. Or d is a
module of its own, which may learn too, such as `nets.Distortion`.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.classes import class_means, mask_absent, present
from quickstudy.functional.distances import cosine, squared_euclidean
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Prototypes(NamedTuple):
    """The state of one task."""

    means: Tensor
    """(N, D) mean features of each class."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="metric", learns="an embedding", paper="Snell et al. 2017", tasks="classification")
class ProtoNet(EmbeddingLearner):
    """Nearest class mean in a learned embedding.

    Args:
        net: embedding module.
        distance: 'euclidean' (squared), 'cosine', or a module that returns the distances (Q, N) of rows (Q, D) from
            rows (N, D).
        scale: what a learned factor of distances begins with; None leaves Euclidean ones as they are, as in the paper,
            and begins with 10 for cosines. A root of D numbers, 1 / D ** 0.5, suits D features of about one.
        batch_norm: 'support' or 'transductive'.
    """

    compares_rows = True

    def __init__(
        self,
        net: nn.Module,
        distance: Literal["euclidean", "cosine"] | nn.Module = "euclidean",
        batch_norm: BatchNormPolicy = "support",
        scale: float | None = None,
    ) -> None:
        super().__init__(net, batch_norm)
        if scale is not None and not 0 < scale < math.inf:
            raise InputError(f"scale must be positive, not {scale}")
        if not isinstance(distance, nn.Module) and distance not in ("euclidean", "cosine"):
            raise unknown_name("distance", distance, ("euclidean", "cosine"))
        self.distance = distance
        if scale is None and distance == "cosine":
            scale = 10.0
        self.log_scale = None if scale is None else nn.Parameter(torch.tensor(float(scale)).log())

    def adapt(self, support: Examples) -> Prototypes:
        """Average the embeddings of each class."""
        features, statistics = self.embed_support(support)
        return Prototypes(class_means(features, support), present(support), statistics)

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        """Return (Q, N) logits."""
        features = self.embed(inputs, state.statistics)
        if self.distance == "cosine":
            logits = cosine(features, state.means)
        elif isinstance(self.distance, nn.Module):
            logits = -self.distance(features, state.means)
        else:
            logits = -squared_euclidean(features, state.means)
        if self.log_scale is not None:
            logits = self.log_scale.exp() * logits
        return mask_absent(logits, state.present)
