"""Predictions that carry their uncertainty, against scipy and by hand."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from quickstudy import Examples
from quickstudy.core import prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional.predictive import Gaussian, GaussianMixture, kl_divergence, point

pytestmark = pytest.mark.usefixtures("float64")


def test_gaussian_is_scipys() -> None:
    found = Gaussian(torch.randn(4, 2), torch.rand(4, 2) + 0.1)
    y = torch.randn(4, 2)
    expected = stats.norm(found.mean.numpy(), found.std.numpy()).logpdf(y.numpy()).sum(1)
    assert found.log_prob(y).numpy() == pytest.approx(expected)
    assert point(found) is found.mean


def test_mixture_by_sums_of_densities() -> None:
    means, stds = torch.randn(4, 3, 2), torch.rand(4, 3, 2) + 0.1
    weights = torch.softmax(torch.randn(4, 3), 1)
    found, y = GaussianMixture(means, stds, weights.log()), torch.randn(4, 2)
    for q in range(4):
        density = sum(
            float(weights[q, k]) * math.prod(stats.norm.pdf(y[q, d], means[q, k, d], stds[q, k, d]) for d in range(2))
            for k in range(3)
        )
        assert float(found.log_prob(y)[q]) == pytest.approx(math.log(density))


def test_moments_of_a_mixture_are_those_of_its_draws() -> None:
    found = GaussianMixture(
        torch.tensor([[[-1.0], [2.0]]]), torch.tensor([[[0.5], [1.5]]]), torch.tensor([[0.3, 0.7]]).log()
    )
    assert float(found.mean) == pytest.approx(0.3 * -1 + 0.7 * 2)
    second = 0.3 * (0.25 + 1) + 0.7 * (2.25 + 4)
    assert float(found.std) == pytest.approx(math.sqrt(second - 1.1**2))


def test_mixture_of_equals_is_the_gaussian() -> None:
    one = Gaussian(torch.randn(3, 1), torch.rand(3, 1) + 0.2)
    same = GaussianMixture(*(part.unsqueeze(1).expand(3, 5, 1) for part in one), torch.full((3, 5), -math.log(5)))
    torch.testing.assert_close(same.log_prob(torch.ones(3)), one.log_prob(torch.ones(3)))
    torch.testing.assert_close(same.std, one.std)


def test_divergence_is_torchs() -> None:
    p, q = (Gaussian(torch.randn(5), torch.rand(5) + 0.1) for _ in range(2))
    torch.testing.assert_close(kl_divergence(p, q), torch_kl(Normal(*p), Normal(*q)).sum())
    assert float(kl_divergence(p, p)) == pytest.approx(0)


def test_loss_is_minus_the_mean_log_likelihood_of_rows_that_count() -> None:
    found = Gaussian(torch.randn(3, 1), torch.ones(3, 1))
    rows = Examples(torch.zeros(3, 1), torch.randn(3, 1), torch.tensor([True, False, True]))
    expected = -found.log_prob(rows.labels)[[0, 2]].mean()
    torch.testing.assert_close(prediction_loss(found, rows), expected)


def test_targets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"outputs \(3, 1\) do not fit targets \(3, 2\)"):
        Gaussian(torch.zeros(3, 1), torch.ones(3, 1)).log_prob(torch.zeros(3, 2))
