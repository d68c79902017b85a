"""Logistic regression on pretrained features.

Tian et al. 2020, "Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?", section 3.2:
pretrain on all meta-training classes, then multinomial logistic regression on the L2-normalised features of the
support. The convex problem

    min_W,b  sum_i CE(W z_i + b, y_i) + |W|^2 / (2 C)        (scikit-learn's LogisticRegression)

is solved by accelerated gradient descent (Nesterov 1983), which batches over tasks where scikit-learn's solver cannot.
Departures: a trace of penalty on the logits at the mean of the features makes the solution unique; C is 10 where the
authors' code has 1; no distillation.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import mask_absent, one_hot, present
from quickstudy.functional.distances import unit
from quickstudy.learners.bases.pretrained import PretrainedLearner
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class LinearModel(NamedTuple):
    """The state of one task."""

    weight: Tensor
    """(N, D + 1); the last column is the intercept."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


def fit_logistic(features: Tensor, indicators: Tensor, is_present: Tensor, c: float, steps: int) -> Tensor:
    """Return W (N, D + 1) of the problem above for features (S, D) and indicators (S, N); the last column is b."""
    valid = indicators.sum(-1, keepdim=True)
    # The intercept takes up a shift of all features, and without their mean the problem is far better conditioned.
    centre = (features * valid).sum(0) / valid.sum().clamp_min(1)
    rows = F.pad(features - centre, (0, 1), value=1.0) * valid
    penalty = torch.ones(rows.shape[-1], dtype=rows.dtype, device=rows.device) / c
    # The intercept is not penalised; a trace of curvature keeps the problem strictly convex.
    penalty = torch.cat([penalty[:-1], penalty[-1:] * 1e-3])
    # The softmax's Hessian is at most 1/2 and the norm at least the largest eigenvalue, so this bounds the curvature.
    gram = rows @ rows.mT if len(rows) < rows.shape[-1] else rows.mT @ rows
    bound = 0.5 * gram.square().sum().sqrt() + 1 / c
    weight = look = rows.new_zeros(indicators.shape[-1], rows.shape[-1])
    t = 1.0
    for _ in range(steps):
        logits = mask_absent(rows @ look.mT, is_present)
        slope = (torch.softmax(logits, -1) - indicators).mT @ rows + penalty * look
        new = look - slope / bound
        t_new = 0.5 * (1 + math.sqrt(1 + 4 * t * t))
        # Restarting when momentum points uphill keeps convergence linear (O'Donoghue & Candes 2015).
        uphill = (slope * (new - weight)).sum() > 0
        look = new + torch.where(uphill, 0.0, (t - 1) / t_new) * (new - weight)
        weight, t = new, t_new
    return torch.cat([weight[:, :-1], weight[:, -1:] - weight[:, :-1] @ centre.unsqueeze(-1)], -1)


@register(
    "learner",
    family="baseline",
    learns="features, by ordinary training",
    paper="Tian et al. 2020",
    tasks="classification",
)
class LogisticRegressionOnFeatures(PretrainedLearner):
    """Logistic regression on the features of a net pretrained on all meta-training classes.

    Args:
        net: a module that returns features (rows, D).
        classes: number of meta-training classes. None is for a net that is trained already.
        c: inverse strength of the L2 penalty, scikit-learn's C.
        steps: solver steps.
        normalise: scale features to length 1.
        batch_norm: 'support', 'transductive', or 'frozen' for a net that is trained already.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: int | None = None,
        c: float = 10.0,
        steps: int = 200,
        normalise: bool = True,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, classes, False, batch_norm)
        if not c > 0:
            raise InputError(f"c must be positive, not {c}")
        self.c, self.steps, self.normalise = c, steps, normalise

    def adapt(self, support: Examples) -> LinearModel:
        """Fit the regression on the support's features."""
        with torch.no_grad():
            features, statistics = self.embed_support(support)
            features = unit(features) if self.normalise else features
            is_present = present(support)
            indicators = one_hot(support, features.dtype)
            weight = fit_logistic(features, indicators, is_present, self.c, self.steps)
        return LinearModel(weight, is_present, statistics)

    def predict(self, state: LinearModel, inputs: Any) -> Tensor:
        """Return (Q, N) logits."""
        features = self.embed(inputs, state.statistics)
        features = unit(features) if self.normalise else features
        return mask_absent(F.linear(features, state.weight[:, :-1], state.weight[:, -1]), state.present)
