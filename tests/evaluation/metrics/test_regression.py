"""Metrics of targets against scikit-learn and NumPy, one task at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error

from quickstudy.errors import InputError
from quickstudy.evaluation import find_metric
from quickstudy.functional.predictive import Gaussian
from tests.evaluation.metrics.batches import SEEDS, by_task, classes, masked, targets

fixed = settings(max_examples=40, deadline=None, derandomize=True)


def smape(found, wanted):
    parts = [
        0.0 if a == b == 0 else 200 * abs(a - b) / (abs(a) + abs(b))
        for a, b in zip(found.flat, wanted.flat, strict=True)
    ]
    return np.mean(parts)


@given(SEEDS)
@fixed
@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("mse", lambda found, wanted: mean_squared_error(wanted, found)),
        ("mae", lambda found, wanted: mean_absolute_error(wanted, found)),
        ("rmse", lambda found, wanted: root_mean_squared_error(wanted.flatten(), found.flatten())),
        ("smape", smape),
    ],
)
@pytest.mark.parametrize("coarse", [False, True])
def test_errors(name, of, coarse, seed):
    outputs, query = targets(seed, 2, coarse)
    np.testing.assert_allclose(find_metric(name).of(outputs, query), [of(*rows) for rows in by_task(outputs, query)])


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "smape"])
def test_errors_are_of_the_mean_of_a_distribution(name):
    outputs, query = targets(0, 1)
    spread = Gaussian(outputs, torch.ones_like(outputs))
    assert torch.equal(find_metric(name).of(spread, query), find_metric(name).of(outputs, query))


@given(SEEDS)
@fixed
def test_log_likelihood(seed):
    outputs, query = targets(seed, 2)
    std = 0.5 + torch.rand(outputs.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = []
    for t, (found, wanted) in enumerate(by_task(outputs, query)):
        expected.append(norm.logpdf(wanted, found, std[t][query.mask[t]].numpy()).sum(1).mean())
    np.testing.assert_allclose(find_metric("log_likelihood").of(Gaussian(outputs, std), query), expected)


def test_points_have_no_likelihood():
    outputs, query = targets(0, 1)
    with pytest.raises(InputError, match="this learner's are points"):
        find_metric("log_likelihood").of(outputs, query)


def test_predictions_that_do_not_fit_are_refused():
    outputs, query = targets(0, 2)
    with pytest.raises(InputError, match="do not fit targets"):
        find_metric("mae").of(outputs[:, :, :1], query)


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "smape", "log_likelihood"])
def test_classes_are_refused(name):
    outputs, query = classes(0, 3)
    with pytest.raises(InputError, match="judges targets that are numbers, and labels are classes; take 'accuracy'"):
        find_metric(name).of(outputs, query)


def test_the_error_of_a_task_without_rows_is_undefined():
    query = masked(np.ones((1, 2, 1)), np.zeros((1, 2), bool), None)
    for name in ("mse", "rmse", "mae", "smape"):
        assert find_metric(name).partial
        assert find_metric(name).of(torch.zeros(1, 2, 1), query).isnan().all()
