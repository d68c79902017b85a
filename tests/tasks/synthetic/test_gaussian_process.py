"""Draws of Gaussian processes, and their exact posterior, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ExpSineSquared, Kernel, Matern

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.functional.kernels import KERNELS
from quickstudy.learners import ExactGP
from quickstudy.tasks import GaussianProcess

LENGTH = 0.35
SKLEARN: dict[str, Kernel] = {
    "rbf": RBF(LENGTH),
    "matern12": Matern(LENGTH, nu=0.5),
    "matern32": Matern(LENGTH, nu=1.5),
    "matern52": Matern(LENGTH, nu=2.5),
    "periodic": ExpSineSquared(LENGTH, 1.0),
}


def test_all_kernels_are_compared() -> None:
    assert SKLEARN.keys() == KERNELS.keys()


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_and_posterior_are_sklearns(kernel: str, float64: None) -> None:
    x = torch.linspace(-2, 2, 9).unsqueeze(1)
    found = KERNELS[kernel]((x - x.mT).abs(), torch.tensor(LENGTH))
    np.testing.assert_allclose(found.numpy(), SKLEARN[kernel](x.numpy()), atol=1e-12)

    support = qs.Examples(4 * torch.rand(7, 1) - 2, torch.randn(7, 1))
    learner = ExactGP(kernel, (LENGTH,), noise=0.2)
    prediction = learner.predict(learner.adapt(support), x)
    theirs = GaussianProcessRegressor(SKLEARN[kernel], alpha=0.2**2, optimizer=None)
    mean, std = theirs.fit(support.inputs.numpy(), support.labels.numpy()).predict(x.numpy(), return_std=True)
    np.testing.assert_allclose(prediction.mean.numpy()[:, 0], mean.ravel(), atol=1e-9)
    np.testing.assert_allclose(prediction.std.numpy()[:, 0] ** 2, std**2 + 0.2**2, atol=1e-9)


def test_length_scales_are_weighted_by_sklearns_likelihoods(float64: None) -> None:
    support = qs.Examples(4 * torch.rand(7, 1) - 2, torch.randn(7))
    state = ExactGP("rbf", (0.2, 0.7), noise=0.2).adapt(support)
    likelihoods = [
        GaussianProcessRegressor(RBF(scale), alpha=0.2**2, optimizer=None)
        .fit(support.inputs.numpy(), support.labels.numpy())
        .log_marginal_likelihood_value_
        for scale in (0.2, 0.7)
    ]
    gap = float(state.log_weights[0] - state.log_weights[1])
    assert gap == pytest.approx(likelihoods[0] - likelihoods[1])
    assert float(state.log_weights.exp().sum()) == pytest.approx(1)


def test_draws_have_the_covariance_of_their_kernel() -> None:
    tasks = GaussianProcess("matern32", length_scale=0.5, shots=2, queries=1, noise=0.3)
    plan = tasks.plan(torch.arange(20_000))
    plan["x"] = torch.tensor([-1.0, -0.6, 1.0]).expand(20_000, 3)
    batch = tasks.gather(plan)
    values = torch.cat([batch.support.labels, batch.query.labels], 1).squeeze(-1).double()
    x = plan["x"][0].double()
    expected = KERNELS["matern32"]((x.unsqueeze(1) - x).abs(), torch.tensor(0.5)) + 0.09 * torch.eye(3)
    torch.testing.assert_close(values.T @ values / 20_000, expected, atol=0.03, rtol=0)


def test_length_scales_and_shots_are_drawn_from_their_ranges() -> None:
    tasks = GaussianProcess(length_scale=(0.2, 0.6), shots=(3, 8), queries=2)
    plan = tasks.plan(torch.arange(2000))
    scales = plan["parameter.length_scale"]
    assert 0.2 <= float(scales.min()) < 0.21 < 0.59 < float(scales.max()) < 0.6
    counts = tasks.gather(plan).support.mask.sum(1)
    assert counts.unique().tolist() == [3, 4, 5, 6, 7, 8]
    assert tasks.describe()["shots"] == [3, 8]
    ahead, whole = tasks.batch(5, 1), tasks.batch(0, 6)
    assert torch.equal(ahead.query.labels[0], whole.query.labels[5])


def test_no_wrong_length_scale_predicts_better_than_the_right_one() -> None:
    bank = GaussianProcess(length_scale=0.4, shots=8, queries=30).bank(300)
    right, *wrong = (qs.evaluate(ExactGP(length_scales=(scale,)), bank) for scale in (0.4, 0.2, 0.8))
    assert right.metric == "log_likelihood"
    for other in wrong:
        assert right.mean > other.mean + 0.05
    best = qs.evaluate(ExactGP(length_scales=(0.4,)), bank, metric="mse")
    assert best.mean < qs.evaluate(ExactGP(length_scales=(0.2,)), bank, metric="mse").mean


def test_scores_by_loops() -> None:
    bank = GaussianProcess(shots=(2, 5), queries=6).bank(5)
    learner = ExactGP()
    log_likelihood, mse = qs.evaluate(learner, bank), qs.evaluate(learner, bank, metric="mse")
    for i in range(5):
        one = batching.select(bank.batch(i, 1), 0)
        found = learner.predict(learner.adapt(one.support), one.query.inputs)
        assert log_likelihood.values[i] == pytest.approx(float(found.log_prob(one.query.labels).mean()), rel=1e-4)
        assert mse.values[i] == pytest.approx(float((found.mean - one.query.labels).square().mean()), rel=1e-4)


def test_points_have_no_likelihood() -> None:
    learner = qs.learners.MAML(qs.nets.mlp(1, outputs=1))
    bank = GaussianProcess(shots=3, queries=2).bank(2)
    with pytest.raises(InputError, match="metric='mse'"):
        qs.evaluate(learner, bank)
    assert qs.evaluate(learner, bank, metric="mse").mean > 0
    with pytest.raises(InputError, match="mse"):
        qs.evaluate(learner, bank, metric="msee")


@pytest.mark.parametrize("options", [{"kernel": "rbff"}, {"length_scale": 0.0}, {"length_scale": (0.5, 0.2)}])
def test_nonsense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        GaussianProcess(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        ExactGP(length_scales=())
