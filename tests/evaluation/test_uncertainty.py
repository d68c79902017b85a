"""Coverage of intervals and prediction sets, and abstention."""

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.evaluation.uncertainty import LEVELS, refuses, reliability
from quickstudy.functional.coverage import of_classes, of_targets, quantile
from quickstudy.functional.predictive import Gaussian, GaussianMixture
from quickstudy.learners import MAML, ExactGP


def test_quantiles_are_those_of_the_distribution() -> None:
    means, stds = torch.tensor([[[0.0], [3.0]], [[1.0], [1.0]]]).double(), torch.tensor([0.5, 2.0]).double()
    stds = stds.reshape(1, 2, 1).expand(2, 2, 1)
    weights = torch.tensor([[0.3, 0.7], [0.5, 0.5]]).double()
    at = quantile(GaussianMixture(means, stds, weights.log()), 0.8)
    below = (weights * torch.distributions.Normal(means, stds).cdf(at.reshape(2, 1, 1)).squeeze(-1)).sum(1)
    torch.testing.assert_close(below, torch.full_like(below, 0.8))
    one = Gaussian(torch.tensor([[2.0]]).double(), torch.tensor([[3.0]]).double())
    torch.testing.assert_close(
        quantile(one, 0.95), torch.distributions.Normal(2.0, 3.0).icdf(torch.tensor([0.95])).double()
    )


def test_true_distributions_are_covered_exactly() -> None:
    torch.manual_seed(0)
    mean, std = torch.randn(20000, 1).double(), torch.rand(20000, 1).double() + 0.1
    y = mean + std * torch.randn_like(mean)
    rows = of_targets(Gaussian(mean, std), y, 0.9)
    for level in (0.1, 0.5, 0.9):
        assert float(rows.held(level).mean()) == pytest.approx(level, abs=0.01)
    low, high = mean - rows.size.unsqueeze(1) / 2, mean + rows.size.unsqueeze(1) / 2
    torch.testing.assert_close(rows.held(0.9), ((low <= y) & (y <= high)).double().flatten())
    torch.testing.assert_close(rows.size, 2 * 1.6448536 * std.flatten(), rtol=1e-5, atol=0)
    torch.testing.assert_close(rows.likelihood, torch.distributions.Normal(mean, std).log_prob(y).flatten())
    too_narrow = of_targets(Gaussian(mean, std / 2), y, 0.9).held(0.9).mean()
    assert float(too_narrow) == pytest.approx(0.589, abs=0.015)  # P(|z| < 0.822)


def test_true_probabilities_are_covered_exactly_however_few_the_classes() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(20000, 3).double()
    labels = torch.multinomial(logits.softmax(1), 1).flatten()
    rows = of_classes(logits, labels, 0.9)
    for level in (0.1, 0.5, 0.9):
        assert float(rows.held(level).mean()) == pytest.approx(level, abs=0.01)
    assert float(rows.size.min()) >= 0.9
    assert float(rows.size.max()) <= 3
    assert float(rows.error.mean()) == pytest.approx(1 - float(rows.sureness.mean()), abs=0.01)
    # Two classes as likely: the first whole, the second four times of five.
    assert of_classes(torch.zeros(1, 2).double(), torch.zeros(1).long(), 0.9).size.item() == pytest.approx(1.8)


def test_exact_posterior_is_reliable_and_abstains_well() -> None:
    tasks = qs.tasks.GaussianProcess("rbf", (0.4, 0.4), shots=4, queries=20, noise=0.1)
    learner = ExactGP(length_scales=(0.4,), noise=0.1)
    found = reliability(learner, tasks, tasks=200)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    np.testing.assert_allclose(found.curve[:, 1], LEVELS, atol=0.03)
    assert len(found.held) == len(found.likelihoods) == 200
    assert found.log_likelihood == pytest.approx(qs.evaluate(learner, tasks, 200, metric="log_likelihood").mean)
    assert found.risk[4] < found.risk[-1] / 3
    assert found.area < found.risk[-1]
    assert found.share[-1] == 1
    assert "90% intervals hold" in str(found)


def test_wrong_arguments() -> None:
    learner, tasks = MAML(qs.nets.mlp(1, (4,), outputs=1)), qs.tasks.Sinusoid(queries=5)
    with pytest.raises(InputError, match="predictions are points"):
        reliability(learner, tasks, tasks=2)
    with pytest.raises(InputError, match="level must lie between"):
        reliability(learner, tasks, tasks=2, level=1.0)
    two = qs.Examples(torch.zeros(3, 4, 1), torch.zeros(3, 4, 2), check=False)
    assert (
        refuses(Gaussian(torch.zeros(3, 4, 2), torch.ones(3, 4, 2)), two) == "intervals are of one target a row, not 2"
    )
    pixels = qs.Examples(torch.zeros(3, 4, 1, 5, 5), torch.zeros(3, 4, 5, 5).long(), check=False)
    assert "have more" in str(refuses(torch.zeros(3, 4, 2, 5, 5), pixels))
    sequences = qs.tasks.Sinusoid(queries=5)
    sequences.sequential = True
    with pytest.raises(InputError, match="sequences have no query"):
        reliability(learner, sequences, tasks=2)
    wide = reliability(learner, tasks, tasks=5, noise=100.0)
    assert wide.coverage == 1.0
    assert wide.size == pytest.approx(2 * 1.6448536 * 100, rel=1e-4)
