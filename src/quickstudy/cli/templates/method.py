"""MedianNet, a new method in one file. Change what it does, then try it:

    python median_net.py                                                        check what a learner promises
    quickstudy train MedianNet --import median_net.py --steps 200               on the built-in glyphs
    quickstudy train MedianNet --import median_net.py --data my_pictures/       on classes of your own
    quickstudy list learners --import median_net.py

Equation (median networks, made up for this file): c_k = coordinate-wise median of f(x_i) over the support of class k,
p(y = k | x) = softmax_k(-|f(x) - c_k|_1). Learned across tasks: the embedding f. Departures from the paper: none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.functional.classes import mask_absent, one_hot, present
from quickstudy.learners.bases.embedding import EmbeddingLearner
from quickstudy.operators.calls import Statistics
from quickstudy.registry import register


class Medians(NamedTuple):
    """The state of one task: an immutable pytree of tensors."""

    medians: Tensor
    """Medians of the features of each class, (N, D)."""
    present: Tensor
    """Classes that have a support row, (N,)."""
    statistics: Statistics


# The line that makes it known by name: to the command, to run folders and to reports.
@register("learner", family="metric", learns="an embedding", paper="You 2027", tasks="classification")
class MedianNet(EmbeddingLearner):
    """Nearest class median in a learned embedding.

    Args:
        net: embedding module.
    """

    def adapt(self, support: qs.Examples) -> Medians:
        """Take the median of each class: written for ONE task, without a loop over tasks."""
        features, statistics = self.embed_support(support)
        rows = one_hot(support, features.dtype).mT.unsqueeze(-1)  # (N, S, 1), zero in padding rows
        of_class = torch.where(rows > 0, features, torch.nan)  # (N, S, D)
        medians = torch.nanmedian(of_class, 1).values.nan_to_num()
        return Medians(medians, present(support), statistics)

    def predict(self, state: Medians, inputs: Any) -> Tensor:
        """Return (Q, N) logits; nothing in the state changes."""
        features = self.embed(inputs, state.statistics)
        distances = (features.unsqueeze(1) - state.medians).abs().sum(-1)
        return mask_absent(-distances, state.present)


if __name__ == "__main__":
    from quickstudy.testing import check_learner

    # A fixed task of numbers, in float64: 3 classes, 3 shots, 6 queries.
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(9) % 3
    inputs = torch.randn(9, 4, generator=generator, dtype=torch.float64) + 2 * labels.unsqueeze(1)
    task = qs.Task(qs.Examples(inputs, labels), qs.Examples(inputs[:6] + 0.1, labels[:6]))
    check_learner(MedianNet(qs.nets.mlp(4, (8, 5))), task)
    print("MedianNet keeps every promise of a learner")
