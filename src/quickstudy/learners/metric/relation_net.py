"""Relation networks: a learned comparison.

Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot Learning", equations 1 and 2:

    r_k = g(concat(sum of f(x_i) over the support of class k, f(x)))  in [0, 1]
    loss = mean squared error of r_k against 1[y = k]

Learned across tasks: the embedding f (feature maps) and the relation module g. Departures: the mean rather than the sum
over the shots, so that one learner serves any number of shots; the second pooling of g is over all of the map, so that
one module serves maps of any size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, masked_mean
from quickstudy.errors import InputError
from quickstudy.functional.classes import class_means, mask_absent, one_hot, present
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.nets.conv4 import Norm, norm_layer
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics, call, given_by, uses_batch_statistics
from quickstudy.registry import register


class RelationModule(nn.Module):
    """Two convolution blocks with max-pooling and two linear layers on joined feature maps (figure 2 of the paper).

    The first convolution of joined maps is the sum of one of each. Where features and means are given apart, that is
    made once for each row and each class, not once for each pair.
    """

    def __init__(self, channels: int, width: int, hidden: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2 * channels, width, 3, padding=1), norm_layer(norm, width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), norm_layer(norm, width), nn.ReLU())
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, 1)

    def forward(self, features: Tensor, means: Tensor | None = None) -> Tensor:
        """Compare features (Q, C, h, w) or (Q, C) with those of classes (N, C, h, w) or (N, C): scores (Q x N, 1).

        Without means, features are joined ones (P, 2C, h, w) or (P, 2C), and scores are (P, 1).
        """
        features = _map(features)
        maps = self.first(features) if means is None else self._joined(features, _map(means))
        if min(maps.shape[-2:]) > 1:
            maps = F.max_pool2d(maps, 2)
        return self.out(F.relu(self.hidden(self.second(maps).amax((-2, -1)))))  # type: ignore[no-any-return]

    def _joined(self, features: Tensor, means: Tensor) -> Tensor:
        """Return what the first block makes of all pairs (Q x N, 2C, h, w)."""
        conv, *rest = self.first
        assert isinstance(conv, nn.Conv2d)
        of_means, of_features = conv.weight.chunk(2, 1)
        left = F.conv2d(means, of_means, padding=1)
        right = F.conv2d(features, of_features, conv.bias, padding=1)
        maps = (right.unsqueeze(1) + left).flatten(0, 1)
        for layer in rest:
            maps = layer(maps)
        return maps


def _map(features: Tensor) -> Tensor:
    return features if features.ndim == 4 else features[..., None, None]


class Relations(NamedTuple):
    """The state of one task."""

    means: Tensor
    """(N, C, h, w) or (N, D) mean features of each class."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics
    pair_statistics: Statistics
    """Batch statistics inside the relation module."""


@register(
    "learner", family="metric", learns="an embedding and a comparison", paper="Sung et al. 2018", tasks="classification"
)
class RelationNet(EmbeddingLearner):
    """Compares queries with class means by a net.

    Args:
        net: embedding module that returns feature maps (rows, C, h, w), such as
            `nets.conv4(flatten=False, halvings=2)`, or
            features (rows, D).
        relation: module from joined features (pairs, 2C, h, w) or (pairs, 2D) to (pairs, 1); None builds one like the
            paper's.
        channels: C (or D), for the built one.
        hidden: width of the relation module's linear layer.
        norm: normalisation inside the built relation module. Its rows are query-class pairs, so with 'batch' and
            the policy 'support' its statistics are those of support-class pairs.
        batch_norm: 'support' or 'transductive'.
    """

    flat = False

    def __init__(
        self,
        net: nn.Module,
        relation: nn.Module | None = None,
        channels: int = 64,
        hidden: int = 8,
        norm: Norm = "batch",
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, batch_norm)
        self.relation = RelationModule(channels, channels, hidden, norm) if relation is None else relation

    def adapt(self, support: Examples) -> Relations:
        """Average the feature maps of each class."""
        features, statistics = self.embed_support(support)
        means, is_present = class_means(features, support), present(support)
        pair_statistics: Statistics = ()
        if self.norm_policy == "support" and uses_batch_statistics(self.relation):
            pairs = (support.counted.unsqueeze(1) & is_present).flatten()
            _, pair_statistics = self._related(features, means, mask=pairs)
        return Relations(means, is_present, statistics, pair_statistics)

    def predict(self, state: Relations, inputs: Any) -> Tensor:
        """Return (Q, N) scores before the sigmoid."""
        features = self.embed(inputs, state.statistics)
        given = given_by(self.batch_norm, state.pair_statistics)
        scores, _ = self._related(features, state.means, given)
        return mask_absent(scores.reshape(len(features), len(state.means)), state.present)

    def loss(self, state: Relations, query: Examples) -> Tensor:
        """Return the mean squared error of the scores in [0, 1] against one-hot labels."""
        scores = torch.sigmoid(self.predict(state, query.inputs))
        # All classes of the support, also where the query has fewer.
        asked = Examples(query.inputs, query.labels, query.mask, scores.shape[1], check=False)
        wanted = one_hot(asked, scores.dtype)
        return masked_mean((scores - wanted).square().sum(-1), query.mask)

    def _related(
        self, features: Tensor, means: Tensor, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Return scores (Q x N, 1), and the batch statistics that were used."""
        if features.shape[1:] != means.shape[1:]:
            raise InputError(f"queries have features {tuple(features.shape[1:])}, the support {tuple(means.shape[1:])}")
        if isinstance(self.relation, RelationModule):
            return call(self.relation, (features, means), given=given, mask=mask)
        q, n = len(features), len(means)
        left = means.unsqueeze(0).expand(q, *means.shape)
        right = features.unsqueeze(1).expand(q, n, *features.shape[1:])
        return answer(self.relation, torch.cat([left, right], 2).flatten(0, 1), given=given, mask=mask)
