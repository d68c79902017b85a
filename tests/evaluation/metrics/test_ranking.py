"""Metrics of rankings against scikit-learn and plain counting, one task at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.evaluation import find_metric
from tests.evaluation.metrics.batches import SEEDS, by_task, classes, masked, targets

fixed = settings(max_examples=60, deadline=None, derandomize=True)


def with_ties(outputs: torch.Tensor) -> torch.Tensor:
    """Return logits with few different numbers in a row."""
    return outputs.nan_to_num(0.0, 0.0, 0.0).clamp(-3, 3).round()


@given(SEEDS)
@fixed
def test_classes_ranked_by_each_row(seed: int) -> None:
    outputs, query = classes(seed, 5)
    outputs = with_ties(outputs)
    reciprocal, within, gains = [], [], []
    for rows, labels in by_task(outputs, query):
        wanted = np.eye(5)[labels]
        reciprocal.append(label_ranking_average_precision_score(wanted, rows))
        within.append(np.mean([(row >= row[label]).sum() <= 2 for row, label in zip(rows, labels, strict=True)]))
        gains.append(ndcg_score(wanted, rows, k=3))
    np.testing.assert_allclose(find_metric("mrr").of(outputs, query), reciprocal)
    np.testing.assert_allclose(find_metric("hits@2").of(outputs, query), within)
    np.testing.assert_allclose(find_metric("ndcg@3").of(outputs, query), gains)


@given(SEEDS)
@fixed
@pytest.mark.parametrize("k", [1, 3, 20])
def test_items_of_graded_relevance_in_each_row(k: int, seed: int) -> None:
    outputs, query = targets(seed, 6, coarse=True)
    gains, reciprocal = [], []
    for rows, relevance in by_task(outputs, query):
        gains.append(ndcg_score(relevance, rows, k=k))
        reciprocal.append(np.mean([reciprocal_rank(*each) for each in zip(rows, relevance, strict=True)]))
    np.testing.assert_allclose(find_metric(f"ndcg@{k}").of(outputs, query), gains)
    np.testing.assert_allclose(find_metric("mrr").of(outputs, query), reciprocal)


@given(SEEDS)
@fixed
def test_the_rows_of_a_task_as_one_ranking(seed: int) -> None:
    outputs, query = targets(seed, 1, coarse=True)
    gains, reciprocal, within = [], [], []
    for rows, relevance in by_task(outputs, query):
        rank = reciprocal_rank(rows[:, 0], relevance[:, 0])
        gains.append(ndcg_score(relevance.T, rows.T, k=4) if len(rows) > 1 else float(relevance[0, 0] > 0))
        reciprocal.append(rank)
        within.append(float(rank >= 1 / 3))
    np.testing.assert_allclose(find_metric("ndcg@4").of(outputs, query), gains)
    np.testing.assert_allclose(find_metric("mrr").of(outputs, query), reciprocal)
    np.testing.assert_allclose(find_metric("hits@3").of(outputs, query), within)


def reciprocal_rank(scores: np.ndarray, relevance: np.ndarray) -> float:
    """Walk down the list, irrelevant items first among equals."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], relevance[i] > 0))
    return next((1 / place for place, i in enumerate(order, 1) if relevance[i] > 0), 0.0)


def test_scores_that_are_no_numbers_come_last() -> None:
    query = masked(np.array([[1]]), np.ones((1, 1), bool), 3)
    outputs = torch.tensor([[[0.0, math.nan, -5.0]]])
    assert find_metric("mrr").of(outputs, query).tolist() == pytest.approx([1 / 3])
    assert find_metric("mrr").of(torch.full((1, 1, 3), math.nan), query).tolist() == pytest.approx([1 / 3])


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(InputError, match="none may be negative"):
        find_metric("ndcg@5").of(torch.zeros(1, 2, 1), masked(-np.ones((1, 2, 1)), np.ones((1, 2), bool), None))
    pixels = qs.Examples(torch.zeros(1, 2, 1), torch.zeros(1, 2, 3, 3).long(), check=False)
    with pytest.raises(InputError, match="rankings need one class per row"):
        find_metric("mrr").of(torch.zeros(1, 2, 2, 3, 3), pixels)


def test_the_first_place_is_accuracy() -> None:
    tasks = qs.tasks.FewShot(qs.datasets.arrays(torch.randn(60, 3), [i % 6 for i in range(60)]), 5, 1, 3)
    learner = qs.learners.ProtoNet(torch.nn.Linear(3, 2))
    plain, first = qs.evaluate(learner, tasks, 40), qs.evaluate(learner, tasks, 40, metric="hits@1")
    np.testing.assert_allclose(first.values, plain.values)
