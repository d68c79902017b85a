"""Metrics of classes against scikit-learn, one task at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.special import softmax
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score, roc_auc_score

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.evaluation import find_metric
from tests.evaluation.metrics.batches import SEEDS, by_task, classes, masked, targets

fixed = settings(max_examples=60, deadline=None, derandomize=True)


@given(SEEDS)
@fixed
def test_accuracy(seed: int) -> None:
    outputs, query = classes(seed, 3)
    expected = [accuracy_score(labels, rows.argmax(1)) for rows, labels in by_task(outputs, query)]
    np.testing.assert_allclose(find_metric("accuracy").of(outputs, query), expected)


@given(SEEDS)
@fixed
def test_areas_of_two_classes(seed: int) -> None:
    outputs, query = classes(seed, 2)
    areas, precisions = [], []
    for rows, labels in by_task(outputs, query):
        scores = rows[:, 1] - rows[:, 0]
        areas.append(roc_auc_score(labels, scores) if len(set(labels)) == 2 else math.nan)
        precisions.append(average_precision_score(labels, scores) if 1 in labels else math.nan)
    np.testing.assert_allclose(find_metric("auc").of(outputs, query), areas)
    np.testing.assert_allclose(find_metric("average_precision").of(outputs, query), precisions)


@given(SEEDS)
@fixed
def test_areas_of_several_classes(seed: int) -> None:
    """Where a class is missing, scikit-learn has no figure for all, and what is here is the mean over the others."""
    outputs, query = classes(seed, 4)
    areas, precisions = [], []
    for rows, labels in by_task(outputs, query):
        chances = softmax(rows, 1).round(12)  # so that what is equal stays equal
        there = [n for n in range(4) if 0 < (labels == n).sum() < len(labels)]
        if len(there) == 4:
            areas.append(roc_auc_score(labels, chances, multi_class="ovr"))
        else:
            each = [roc_auc_score(labels == n, chances[:, n]) for n in there]
            areas.append(np.mean(each) if each else math.nan)
        precisions.append(np.mean([average_precision_score(labels == n, chances[:, n]) for n in sorted(set(labels))]))
    np.testing.assert_allclose(find_metric("auc").of(outputs, query), areas)
    np.testing.assert_allclose(find_metric("average_precision").of(outputs, query), precisions)


@pytest.mark.parametrize("ways", [2, 3])
def test_scores_that_are_no_numbers_are_no_better_than_chance(ways: int) -> None:
    labels, mask = np.array([[0, 1, 1, 0]]), np.ones((1, 4), bool)
    outputs = torch.full((1, 4, ways), math.nan)
    assert find_metric("auc").of(outputs, masked(labels, mask, ways)).tolist() == [0.5]


def test_a_curve_is_of_one_class_a_row() -> None:
    pixels = qs.Examples(torch.zeros(1, 2, 1), torch.zeros(1, 2, 3, 3).long(), check=False)
    for name in ("auc", "average_precision"):
        with pytest.raises(InputError, match="one class per row"):
            find_metric(name).of(torch.zeros(1, 2, 2, 3, 3), pixels)


@given(SEEDS)
@fixed
def test_intersection_over_union(seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, mask = draw.integers(0, 2, (3, 4, 2, 2)), draw.random((3, 4)) < 0.7
    outputs = torch.from_numpy(draw.normal(size=(3, 4, 2, 2, 2)))
    expected = []
    for rows, wanted in by_task(outputs, query := masked(labels, mask, 2)):
        given_, wanted = rows.argmax(1).flatten(), wanted.flatten()
        expected.append(jaccard_score(wanted, given_) if (given_ | wanted).any() else 1.0)
    np.testing.assert_allclose(find_metric("iou").of(outputs, query), expected)


def test_an_evaluation_by_area_says_how_many_tasks_counted() -> None:
    """Queries of one row have one class, so no task has an area."""
    data = qs.datasets.arrays(torch.randn(40, 3), [i % 2 for i in range(40)])
    learner = qs.learners.ProtoNet(torch.nn.Linear(3, 2))
    found = qs.evaluate(learner, qs.tasks.FewShot(data, ways=2, shots=3, queries=4), 20, metric="auc")
    assert len(found.counted) == 20
    assert 0 <= found.mean <= 1
    assert found.calibration == qs.evaluate(learner, qs.tasks.FewShot(data, 2, 3, 4), 20).calibration


@pytest.mark.parametrize("name", ["accuracy", "iou"])
def test_numbers_are_refused(name: str) -> None:
    outputs, query = targets(0, 2)
    with pytest.raises(InputError, match="judges classes, and labels are numbers; take 'mse'"):
        find_metric(name).of(outputs, query)


def test_a_task_without_rows_has_no_accuracy() -> None:
    query = masked(np.zeros((2, 2), np.int64), np.array([[False, False], [True, False]]), 2)
    found = find_metric("accuracy").of(torch.tensor([1.0, 0.0]).expand(2, 2, 2), query)
    assert np.array_equal(found, [math.nan, 1.0], equal_nan=True)


@pytest.mark.parametrize("name", ["accuracy", "auc", "average_precision", "mrr", "hits@1", "ndcg@2"])
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 1, 3), (1, 4, 3), (2, 4)])
def test_logits_of_other_rows_are_refused_and_never_broadcast(name: str, shape: tuple[int, ...]) -> None:
    query = qs.Examples(torch.zeros(2, 4, 1), torch.arange(8).reshape(2, 4) % 3, ways=3, check=False)
    with pytest.raises(InputError, match="do not fit labels"):
        find_metric(name).of(torch.zeros(shape), query)


def test_the_intersection_in_a_task_without_a_query_is_undefined() -> None:
    counts = torch.tensor([[True, True], [False, False]])
    query = qs.Examples(torch.zeros(2, 2, 1), torch.ones(2, 2, 3, 3).long(), counts, 2, check=False)
    logits = torch.stack([torch.zeros(2, 2, 3, 3), torch.ones(2, 2, 3, 3)], 2)
    found = find_metric("iou").of(logits, query)
    assert float(found[0]) == 1
    assert bool(found[1].isnan())
    assert find_metric("iou").partial
