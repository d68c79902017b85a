"""Metrics of rankings: where the relevant items stand among all, best first.

Where labels are classes, each query row ranks the classes by their logits and its own class is the relevant one. Where
they are numbers, these say how relevant an item is: each row is a ranking of as many items as it has numbers, and where
a row has one number, the rows of a task are the items of one ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.core import Examples, Output
from quickstudy.errors import InputError
from quickstudy.evaluation.metrics.base import metric
from quickstudy.evaluation.metrics.rows import check_logits, points_and_targets, row_mask


class Rankings(NamedTuple):
    """R rankings of N items in each of T tasks."""

    scores: Tensor
    """(T, R, N) scores, higher first; numbers that are not finite come last."""
    relevance: Tensor
    """(T, R, N) relevance, zero for items that do not matter or are absent."""
    items: Tensor
    """(T, R, N) False for items that are absent."""
    counted: Tensor
    """(T, R) False for rankings that do not count."""

    def mean(self, values: Tensor) -> Tensor:
        """Return (T,) the mean of values (T, R) over the rankings that count; nan where none does."""
        return torch.where(self.counted, values, 0.0).sum(1) / self.counted.sum(1)


@metric("mrr", label="Mean reciprocal rank", partial=True, upper=1.0)
def mrr(outputs: Output, query: Examples) -> Tensor:
    """Return the mean of 1 / rank of the best relevant item, 0 where none is relevant. Among equals it comes last."""
    found = rankings(outputs, query)
    return found.mean(1 / _rank(found))


@metric("hits@k", label="Relevant item among the first {k}", partial=True, upper=1.0)
def hits(outputs: Output, query: Examples, k: int) -> Tensor:
    """Return how often a relevant item is among the first k. Among equals it comes last."""
    found = rankings(outputs, query)
    return found.mean((_rank(found) <= k).double())


@metric("ndcg@k", label="Normalised discounted cumulative gain of the first {k}", partial=True, upper=1.0)
def ndcg(outputs: Output, query: Examples, k: int) -> Tensor:
    """Return the discounted sum of the first k items' relevance over the largest there can be, 0 where none is.

    Item number i is discounted by log2(i + 1), and tied items share their places, as in scikit-learn's `ndcg_score`
    (Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques").
    """
    found = rankings(outputs, query)
    places = torch.arange(found.scores.shape[2], device=found.scores.device)
    discounts = torch.where(places < k, 1 / (places + 2.0).double().log2(), 0.0)
    sums = torch.cat([discounts.new_zeros(1), discounts.cumsum(0)])
    order = torch.where(found.items, found.scores, -torch.inf).sort(-1).values
    above = len(places) - torch.searchsorted(order, found.scores, right=True)
    up_to = len(places) - torch.searchsorted(order, found.scores)
    shared = (sums[up_to] - sums[above]) / (up_to - above).clamp_min(1)
    gained = (found.relevance * shared).sum(-1)
    best = (found.relevance.sort(-1, descending=True).values * discounts).sum(-1)
    return found.mean(torch.where(best > 0, gained / best, 0.0))


def rankings(outputs: Output, query: Examples) -> Rankings:
    """Return the rankings that predictions make.

    Raises:
        InputError: a class for each pixel, predictions that do not fit the labels, or a negative relevance.
    """
    mask = row_mask(query)
    if query.labels.dtype.is_floating_point:
        scores, relevance = (each.reshape(*mask.shape, -1) for each in points_and_targets(outputs, query))
        items, counted = mask.unsqueeze(2).expand_as(scores), mask
        if scores.shape[2] == 1:
            scores, relevance, items = (each.transpose(1, 2) for each in (scores, relevance, items))
            counted = mask.any(1, keepdim=True)
        if bool((relevance.where(items, 0.0) < 0).any()):
            raise InputError("labels say how relevant items are, so none may be negative")
    elif query.labels.ndim == 2:
        check_logits(outputs, query)
        scores = outputs
        relevance = query.labels.unsqueeze(2) == torch.arange(outputs.shape[2], device=outputs.device)
        items, counted = torch.ones_like(relevance), mask
    else:
        raise InputError(f"rankings need one class per row, not labels {tuple(query.labels.shape[2:])} in each")
    scores = scores.double().contiguous().nan_to_num(nan=torch.finfo(torch.float64).min)
    return Rankings(scores, relevance.double().where(items, 0.0), items, counted)


def _rank(found: Rankings) -> Tensor:
    """Return (T, R) float64: one more than the irrelevant items at or above the best relevant one, or infinity."""
    relevant = found.relevance > 0
    best = torch.where(relevant, found.scores, -torch.inf).amax(-1, keepdim=True)
    ahead = (found.items & ~relevant & (found.scores >= best)).sum(-1).double()
    return torch.where(relevant.any(-1), 1 + ahead, torch.inf)
