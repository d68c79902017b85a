"""Linear regression tasks, and ridge regression, against scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

import quickstudy as qs
from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.learners import Ridge
from quickstudy.tasks import LinearRegression


def test_targets_are_linear_and_only_the_support_is_noisy() -> None:
    tasks = LinearRegression(dimensions=3, shots=(2, 5), queries=4, noise=0.5)
    plan = tasks.plan(torch.arange(4000))
    batch = tasks.gather(plan)
    torch.testing.assert_close(batch.query.labels, batch.query.inputs @ plan["w"].unsqueeze(-1))
    gaps = batch.support.labels - batch.support.inputs @ plan["w"].unsqueeze(-1)
    assert float(gaps.std()) == pytest.approx(0.5, abs=0.02)
    assert float(batch.query.labels.var()) == pytest.approx(1, abs=0.1)
    assert batch.support.mask.sum(1).unique().tolist() == [2, 3, 4, 5]
    ahead = tasks.batch(7, 1)
    assert torch.equal(ahead.query.labels[0], batch.query.labels[7])


def test_ridge_is_sklearns(float64: None) -> None:
    support = Examples(torch.randn(6, 3), torch.randn(6, 2), torch.tensor([1, 1, 0, 1, 1, 0]).bool())
    learner, x = Ridge(0.7), torch.randn(4, 3)
    keep = support.mask
    theirs = SklearnRidge(0.7, fit_intercept=False).fit(support.inputs[keep].numpy(), support.labels[keep].numpy())
    np.testing.assert_allclose(
        learner.predict(learner.adapt(support), x).numpy(), theirs.predict(x.numpy()), atol=1e-10
    )


def test_the_posterior_mean_is_the_best_ridge() -> None:
    tasks = LinearRegression(dimensions=4, shots=8, queries=16, noise=0.5).bank(2000)
    errors = {penalty: qs.evaluate(Ridge(penalty), tasks, 2000).mean for penalty in (0.25, 1.0, 4.0)}
    assert min(errors, key=lambda penalty: errors[penalty]) == 4 * 0.5**2


def test_error_of_the_posterior_mean_is_its_variance(float64: None) -> None:
    """E (w x - m x)^2 = trace of the posterior covariance of w, for x ~ N(0, I)."""
    tasks = LinearRegression(dimensions=3, shots=5, queries=50, noise=0.4)
    batch, variances = tasks.batch(0, 1000), []
    for x in batch.support.inputs.double():
        variances.append(float(torch.linalg.inv(x.mT @ x / 0.16 + 3 * torch.eye(3)).trace()))
    report = qs.evaluate(Ridge(3 * 0.16), tasks.bank(1000, seed=0), 1000)
    assert report.mean == pytest.approx(sum(variances) / 1000, rel=0.05)
    assert math.isfinite(report.interval)


def test_nonsense_is_refused() -> None:
    for options in ({"dimensions": 0}, {"queries": 0}, {"noise": -1.0}, {"shots": (3, 2)}):
        with pytest.raises(InputError):
            LinearRegression(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        Ridge(0)
    with pytest.raises(InputError, match="regression"):
        Ridge().adapt(Examples(torch.randn(2, 1), [0, 1]))
