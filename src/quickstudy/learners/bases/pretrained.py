"""The base of baselines: a body trained on all meta-training classes at once, without meta-learning."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.distances import unit
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Statistics, call, check_policy, given_by, uses_batch_statistics
from quickstudy.operators.layer_errors import check_net


class CosineHead(nn.Module):
    """Cosine similarities to class vectors, times a learned scale (Chen et al. 2019, section 3.2)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features) / features**0.5)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, features: Tensor) -> Tensor:
        """Map features (S, D) to logits (S, C)."""
        return self.log_scale.exp() * F.linear(unit(features), unit(self.weight))


class PretrainedLearner(Learner):
    """A body with a head over all meta-training classes; `adapt` learns a new head on a task's support.

    Train it on `tasks.Supervised` batches; the objective `pretraining` is its default.

    Args:
        net: a module that returns features (rows, D), D being `net.features`.
        classes: number of meta-training classes C of the pretraining head. None has no such head, for a net that is
            trained already.
        cosine: the pretraining head compares directions rather than taking inner products.
        batch_norm: 'support', 'transductive' or 'frozen', in tasks. In pretraining each batch has its own
            statistics, unless they are frozen.
    """

    default_objective: ClassVar[str] = "pretraining"

    def __init__(
        self, net: nn.Module, classes: int | None, cosine: bool = False, batch_norm: BatchNormPolicy = "support"
    ) -> None:
        super().__init__()
        size = getattr(net, "features", None)
        if classes is not None and not isinstance(size, int):
            raise InputError("the net needs an integer attribute `features`, the size of what it returns")
        if classes is not None and classes < 1:
            raise InputError(f"classes must be at least 1, not {classes}")
        check_policy(batch_norm)
        check_net(net)
        self.net = net
        self.norm_policy: BatchNormPolicy = batch_norm
        self.pretraining_head: nn.Module | None = None
        if classes is not None and isinstance(size, int):
            self.pretraining_head = CosineHead(size, classes) if cosine else nn.Linear(size, classes)

    @property
    def exact_meta_gradient(self) -> bool:
        """Nothing passes back from tasks to the body."""
        return False

    @property
    def batch_norm(self) -> str:
        """The policy, if the net has batch norm at all."""
        return self.norm_policy if uses_batch_statistics(self.net) else "none"

    def classify(self, examples: Examples) -> Tensor:
        """Return (S, C) logits over all meta-training classes."""
        if self.pretraining_head is None:
            raise InputError("a learner without a pretraining head cannot be trained; give the number of classes")
        frozen = given_by(self.batch_norm)
        features, _ = answer(self.net, examples.inputs, given=frozen, mask=examples.mask, flat=True)
        logits, _ = call(self.pretraining_head, features)
        return logits  # type: ignore[no-any-return]

    def embed_support(self, support: Examples) -> tuple[Tensor, Statistics]:
        """Return features (S, D) and batch statistics of the support."""
        return answer(self.net, support.inputs, given=given_by(self.batch_norm), mask=support.mask, flat=True)

    def embed(self, inputs: Any, statistics: Statistics) -> Tensor:
        """Return features (Q, D) of queries."""
        return answer(self.net, inputs, given=given_by(self.batch_norm, statistics), flat=True)[0]
