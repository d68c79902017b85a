"""Fine-tuning: pretrain on all meta-training classes, then train a new head on each task's support.

Chen et al. 2019, "A Closer Look at Few-shot Classification", sections 3.1 (Baseline) and 3.2 (Baseline++): the body is
frozen, the new classifier is trained on the support. Baseline++ compares by cosine in both stages. Learned: features,
without meta-learning; this is what every meta-learner must beat. Departures: the new head starts at zero (linear) or at
the class means (cosine) instead of at random, so that a task has one answer. Steps are those of Adam on the whole
support; the authors take SGD with momentum on 4 rows (`optimizer="sgd"` has no momentum). The scale of the cosines is
learned in pretraining, from 10; the authors fix it. `adapts="all"` fine-tunes the body too.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from quickstudy.core import Examples, masked_mean
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.classes import class_means, mask_absent, present, ways_of
from quickstudy.functional.distances import unit
from quickstudy.functional.numbers import real
from quickstudy.functional.predictive import check_logits
from quickstudy.learners.bases.pretrained import PretrainedLearner
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics, given_by
from quickstudy.registry import register
from quickstudy.rules import SGD, Adam, Rule


class Tuned(NamedTuple):
    """The state of one task."""

    theta: dict[str, Tensor]
    """The head's 'head.weight' (N, D) and 'head.bias' (N,), and the body's parameters if they were tuned."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register(
    "learner",
    family="baseline",
    learns="features, by ordinary training",
    paper="Chen et al. 2019",
    tasks="classification",
)
class FineTune(PretrainedLearner):
    """Pretrained body, new linear head by gradient descent on the support.

    Args:
        net: a module that returns features (rows, D).
        classes: number of meta-training classes.
        lr: rate of fine-tuning.
        steps: steps of fine-tuning (100 in the paper).
        adapts: 'head' or 'all'.
        optimizer: 'sgd' or 'adam'.
        weight_decay: L2 penalty on what is tuned.
        batch_norm: 'support' or 'transductive'.
    """

    cosine = False

    def __init__(
        self,
        net: nn.Module,
        classes: int,
        lr: float = 0.01,
        steps: int = 100,
        adapts: Literal["head", "all"] = "head",
        optimizer: Literal["sgd", "adam"] = "adam",
        weight_decay: float = 1e-3,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, classes, self.cosine, batch_norm)
        if adapts not in ("head", "all"):
            raise unknown_name("part to adapt", adapts, ("head", "all"))
        if optimizer not in ("sgd", "adam"):
            raise unknown_name("optimizer", optimizer, ("sgd", "adam"))
        if steps < 0:
            raise InputError(f"steps must be 0 or more, not {steps}")
        self.rule: Rule = Adam(lr) if optimizer == "adam" else SGD(lr)
        self.steps, self.adapts, self.weight_decay = steps, adapts, real("weight_decay", weight_decay, least=0)

    def adapt(self, support: Examples) -> Tuned:
        """Train a new head on the support; nothing passes back to the body."""
        with torch.no_grad():
            features, statistics = self.embed_support(support)
            theta = self.first_head(features, support)
            if self.adapts == "all":
                theta.update({f"net.{k}": v for k, v in self.net.named_parameters() if v.requires_grad})
            state, is_present = self.rule.start(theta), present(support)
            given = given_by(self.batch_norm)

            def loss(theta: dict[str, Tensor]) -> Tensor:
                rows = features if self.adapts == "head" else self._body(theta, support.inputs, given, support.mask)[0]
                logits = mask_absent(self.logits(theta, rows), is_present)
                decay = torch.stack([value.square().sum() for value in theta.values()]).sum()
                check_logits(logits, support.labels)
                losses = F.cross_entropy(logits, support.labels, reduction="none")
                return masked_mean(losses, support.mask) + 0.5 * self.weight_decay * decay

            for _ in range(self.steps):
                theta, state = self.rule.update(grad(loss)(theta), state, theta)
            if self.adapts == "all":
                _, statistics = self._body(theta, support.inputs, given, support.mask)
        return Tuned(theta, is_present, statistics)

    def predict(self, state: Tuned, inputs: Any) -> Tensor:
        """Return (Q, N) logits."""
        given = given_by(self.batch_norm, state.statistics)
        features, _ = self._body(state.theta, inputs, given, None)
        return mask_absent(self.logits(state.theta, features), state.present)

    def first_head(self, features: Tensor, support: Examples) -> dict[str, Tensor]:
        """Return the head before fine-tuning."""
        ways = ways_of(support)
        return {
            "head.weight": features.new_zeros(ways, features.shape[-1]),
            "head.bias": features.new_zeros(ways),
        }

    def logits(self, theta: dict[str, Tensor], features: Tensor) -> Tensor:
        """Return (S, N) logits of the new head."""
        return F.linear(features, theta["head.weight"], theta["head.bias"])

    def _body(
        self, theta: dict[str, Tensor], inputs: Any, given: Given, mask: Tensor | None
    ) -> tuple[Tensor, Statistics]:
        own = {name[4:]: value for name, value in theta.items() if name.startswith("net.")}
        return answer(self.net, inputs, own, given, mask, flat=True)


@register(
    "learner",
    family="baseline",
    learns="features, by ordinary training",
    paper="Chen et al. 2019",
    tasks="classification",
)
class BaselinePlusPlus(FineTune):
    """Fine-tuning with cosine classifiers in pretraining and in tasks.

    Arguments as for `FineTune`.
    """

    cosine = True

    def first_head(self, features: Tensor, support: Examples) -> dict[str, Tensor]:
        """Return the class means as class vectors."""
        return {"head.weight": class_means(unit(features), support)}

    def logits(self, theta: dict[str, Tensor], features: Tensor) -> Tensor:
        """Return (S, N) scaled cosines."""
        scale = self.pretraining_head.log_scale.exp()  # type: ignore[operator, union-attr]
        return scale * F.linear(unit(features), unit(theta["head.weight"]))
