"""Metrics of classes: accuracy, areas under curves, intersection over union.

An area is that of one class against the rest. With two classes it is that of the second, scored by the difference of
the logits; with more it is the mean over classes, scored by their probabilities. Definitions, also of ties, are those
of scikit-learn's `roc_auc_score` (multi_class='ovr', average='macro') and `average_precision_score`.

The query of a task may lack a class, which then does not count. For a ROC curve neither does a class that all rows are
of. Where no class counts, or no row does, the metric is undefined (nan), and means leave the task out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.evaluation.metrics.base import metric
from quickstudy.evaluation.metrics.rows import check_logits, classes_of, mean_of_rows, row_mask


@metric("accuracy", label="Accuracy", predicts="classes", partial=True, upper=1.0, chance=lambda ways: 1 / ways)
def accuracy(outputs: Tensor, query: Examples) -> Tensor:
    """Return the fraction of queries whose class has the largest logit; nan where no query counts."""
    return mean_of_rows(classes_of(outputs, query) == query.labels, query)


@metric("iou", label="Intersection over union", partial=True, upper=1.0)
def iou(outputs: Tensor, query: Examples) -> Tensor:
    """Return the intersection over union of the foreground, class 1; 1 where it is neither there nor predicted.

    It is nan where no query counts.
    """
    valid = row_mask(query).reshape(*query.labels.shape[:2], *(1,) * (query.labels.ndim - 2))
    wanted, given = (query.labels == 1) & valid, (classes_of(outputs, query) == 1) & valid
    both, either = (given & wanted).flatten(1).sum(1).double(), (given | wanted).flatten(1).sum(1).double()
    shares = torch.where(either > 0, both / either.clamp_min(1), 1.0)
    return torch.where(row_mask(query).any(1), shares, torch.nan)


@metric("auc", label="Area under the ROC curve", predicts="classes", partial=True, upper=1.0, chance=lambda ways: 0.5)
def auc(outputs: Tensor, query: Examples) -> Tensor:
    """Return the area under the ROC curve: how often a row of a class scores above one of another, ties as a half."""
    scores, wanted, mask = _one_against_rest(outputs, query)
    below, up_to = _places(scores, mask)
    positive, negative = wanted & mask, ~wanted & mask
    many, others = positive.sum(-1).double(), negative.sum(-1).double()
    ranks = torch.where(positive, (below + up_to + 1).double() / 2, 0.0).sum(-1)
    # The statistic of Mann and Whitney; 0 / 0 where one side has no row.
    return ((ranks - many * (many + 1) / 2) / (many * others)).nanmean(1)


@metric("average_precision", label="Average precision", predicts="classes", partial=True, upper=1.0)
def average_precision(outputs: Tensor, query: Examples) -> Tensor:
    """Return the mean, over the rows of a class, of the precision among the rows that score at least as high."""
    scores, wanted, mask = _one_against_rest(outputs, query)
    positive = wanted & mask
    many, every = positive.sum(-1, keepdim=True), mask.sum(-1, keepdim=True)
    right, chosen = many - _places(scores, positive)[0], every - _places(scores, mask)[0]
    precision = torch.where(positive, right.double() / chosen, 0.0)
    return (precision.sum(-1) / many.squeeze(-1)).nanmean(1)


def _one_against_rest(outputs: Tensor, query: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores (T, C, Q) of classes, which rows are of them (T, C, Q), and which rows count (T, C, Q)."""
    labels = query.labels
    if labels.dtype.is_floating_point or labels.ndim != 2:
        raise InputError(f"areas under curves need one class per row, not labels {tuple(labels.shape[1:])} per task")
    check_logits(outputs, query)
    logits = outputs.double()
    if logits.shape[2] == 2:
        scores, classes = (logits[:, :, 1:] - logits[:, :, :1]), torch.ones(1, device=labels.device)
    else:
        scores, classes = logits.softmax(2), torch.arange(logits.shape[2], device=labels.device)
    # Scores that are no numbers rank lowest.
    scores = scores.transpose(1, 2).contiguous().nan_to_num(nan=torch.finfo(torch.float64).min)
    wanted = labels.unsqueeze(1) == classes.unsqueeze(1)
    return scores, wanted, row_mask(query).unsqueeze(1).expand_as(wanted)


def _places(scores: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many of the chosen scores lie below each score, and how many do not lie above it; all (T, C, Q)."""
    order = torch.where(among, scores, torch.inf).sort(-1).values
    return torch.searchsorted(order, scores), torch.searchsorted(order, scores, right=True)
