"""The base of metric and model-based learners: an embedding net, called under a batch norm policy."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from quickstudy.core import Examples, Learner
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Statistics, check_policy, given_by, uses_batch_statistics
from quickstudy.operators.internals import with_module
from quickstudy.operators.layer_errors import check_net


class EmbeddingLearner(Learner):
    """Base of learners that embed every row and then work on the embeddings.

    Args:
        net: a module that returns features, one row an input.
        batch_norm: 'support' (queries are normalised with the support's batch statistics), 'transductive' (with
            their own) or 'frozen' (all rows with the running averages of a pretrained net).
    """

    flat = True
    """Features must be (rows, D)."""
    compares_rows = False
    """Logits fall with the distance of a query to a class's rows, for any number of classes."""

    def __init__(self, net: nn.Module, batch_norm: BatchNormPolicy = "support") -> None:
        super().__init__()
        check_policy(batch_norm)
        check_net(net)
        self.net = net
        self.norm_policy: BatchNormPolicy = batch_norm

    @property
    def batch_norm(self) -> str:
        """The policy, if the net has batch norm at all."""
        return self.norm_policy if uses_batch_statistics(self) else "none"

    def on_features(self) -> Self:
        """Return this learner for rows that its net has embedded already; parameters are shared."""
        return with_module(self, "net", nn.Identity())

    def embed_support(self, support: Examples) -> tuple[Tensor, Statistics]:
        """Return features (S, D) and the batch statistics of the support."""
        return answer(self.net, support.inputs, given=given_by(self.batch_norm), mask=support.mask, flat=self.flat)

    def embed(self, inputs: Any, statistics: Statistics) -> Tensor:
        """Return features (Q, D) of queries."""
        return answer(self.net, inputs, given=given_by(self.batch_norm, statistics), flat=self.flat)[0]
