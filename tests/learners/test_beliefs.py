"""Learners whose answers are distributions, against posteriors that are known."""

import math

import pytest
import torch

import quickstudy as qs
from quickstudy import Examples, nets
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.averaging import average_logits, mixture
from quickstudy.learners import MAML, PLATIPUS, VERSA, EnsembleMAML, LaplaceHead
from quickstudy.objectives.elbo import elbo
from quickstudy.testing.specimens import classification_task, regression_task

KEY = random.key(3)


def doubled(task):
    return qs.batching.to_dtype(task, torch.float64)


def test_logits_are_averaged_as_probabilities() -> None:
    logits = torch.randn(4, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(average_logits(logits).exp(), logits.softmax(-1).mean(0))


def test_mixture_of_means() -> None:
    means = torch.randn(4, 5, 1)
    found = mixture(means, torch.tensor(0.3))
    torch.testing.assert_close(found.mean, means.mean(0))
    wanted = torch.distributions.Normal(means, 0.3).log_prob(torch.zeros(5, 1)).squeeze(-1).logsumexp(0) - math.log(4)
    torch.testing.assert_close(found.log_prob(torch.zeros(5, 1)), wanted)


def test_head_of_regression_is_the_exact_posterior() -> None:
    """In the space of functions: a Gaussian process whose kernel is the features' product."""
    torch.manual_seed(0)
    x, y, new = (torch.randn(n, d, dtype=torch.float64) for n, d in ((7, 3), (7, 2), (4, 3)))
    learner = LaplaceHead(None, 2, 3, noise=0.4, precision=2.5).double()
    found = learner.predict(learner.adapt(Examples(x, y)), new)

    def kernel(a, b):
        return (a @ b.T + 1) / 2.5

    inverse = torch.linalg.inv(kernel(x, x) + 0.16 * torch.eye(7))
    torch.testing.assert_close(found.mean, kernel(new, x) @ inverse @ y)
    variance = (kernel(new, new) - kernel(new, x) @ inverse @ kernel(x, new)).diagonal() + 0.16
    torch.testing.assert_close(found.std.square(), variance.unsqueeze(1).expand(-1, 2))


def test_head_of_classes_is_the_mode_and_its_curvature() -> None:
    task = doubled(classification_task())
    learner = LaplaceHead(None, 3, 4, newton=8, precision=0.7).double()
    state = learner.adapt(task.support, KEY)
    rows = torch.cat([task.support.inputs, torch.ones(9, 1, dtype=torch.float64)], 1)

    def minus_log_posterior(w):
        loss = torch.nn.functional.cross_entropy(rows @ w.reshape(5, 3), task.support.labels, reduction="sum")
        return loss + 0.35 * w.square().sum()

    w = state.mean.detach().flatten().requires_grad_()
    (slope,) = torch.autograd.grad(minus_log_posterior(w), w)
    assert float(slope.abs().max()) < 1e-8
    hessian = torch.autograd.functional.hessian(minus_log_posterior, w.detach())
    torch.testing.assert_close(state.factor @ state.factor.mT, hessian)


def test_draws_of_the_head_have_the_posterior_covariance() -> None:
    task = doubled(classification_task())
    learner = LaplaceHead(None, 3, 4, samples=20000).double()
    state = learner.adapt(task.support, KEY)
    spread = (state.draws - state.mean).flatten(1)
    wanted = torch.linalg.inv(state.factor @ state.factor.mT)
    torch.testing.assert_close(spread.mT @ spread / len(spread), wanted, atol=0.03, rtol=0.05)


def test_amortised_regression_is_the_mean_over_draws_of_the_head() -> None:
    torch.manual_seed(0)
    task = doubled(regression_task())
    learner = VERSA(nets.mlp(1, (6, 4)), 1, width=5, noise=0.3).double()
    state = learner.adapt(task.support)
    found = learner.predict(state, task.query.inputs)
    features = torch.cat([learner.net(task.query.inputs), torch.ones(5, 1, dtype=torch.float64)], 1)
    draws = state.mean + state.std * random.normal(KEY, 50000, 1, 5, dtype=torch.float64)
    outputs = torch.einsum("qd,lod->lqo", features, draws)
    torch.testing.assert_close(found.mean, outputs.mean(0), atol=0.03, rtol=0.02)
    torch.testing.assert_close(found.std, (outputs.var(0) + 0.09).sqrt(), atol=0.01, rtol=0.02)


def test_a_temperature_scales_the_spread_of_heads_and_not_their_middle() -> None:
    task = doubled(classification_task())
    learner = LaplaceHead(None, 3, 4, samples=4).double()
    before = learner.adapt(task.support, KEY)
    learner.log_temperature.data.fill_(math.log(9.0))
    after = learner.adapt(task.support, KEY)
    torch.testing.assert_close(after.mean, before.mean)
    torch.testing.assert_close(after.draws - after.mean, 3 * (before.draws - before.mean))


def test_heads_of_classes_read_the_other_classes_only_where_asked() -> None:
    task = doubled(classification_task())
    moved = qs.Examples(task.support.inputs + 2.0 * (task.support.labels == 2).unsqueeze(1), task.support.labels)
    for context in (False, True):
        torch.manual_seed(0)
        learner = VERSA(None, 3, 4, width=32, context=context).double()
        heads = [learner.adapt(support, KEY).mean.detach() for support in (task.support, moved)]
        assert torch.equal(heads[0][:2], heads[1][:2]) != context
        assert not torch.equal(heads[0][2], heads[1][2])


@pytest.mark.slow
def test_amortised_posterior_learns_the_exact_one() -> None:
    """One weight: y = w x + noise, w ~ N(0, 1), whose posterior VERSA's family of heads holds."""
    torch.manual_seed(0)
    tasks = qs.tasks.LinearRegression(1, shots=(1, 5), queries=20, noise=0.5)
    learner = VERSA(None, 1, 1, width=32)
    outer = qs.outer.Gradient(lr=5e-3, schedule="cosine")
    qs.meta_train(learner, tasks, outer, steps=800, meta_batch=64, compile=False, progress=False)
    batch = tasks.batch(10**6, 300)
    errors, ratios = [], []
    for index in range(300):
        task = qs.batching.select(batch, index)
        x, y = (rows[task.support.mask].flatten() for rows in (task.support.inputs, task.support.labels))
        precision = 1 + (x @ x) / 0.25
        new = task.query.inputs.flatten()
        # The targets of queries have no noise: what is uncertain is the weight. Near zero there is nothing to tell.
        far = new.abs() > 0.5
        mean, std = new * (x @ y) / 0.25 / precision, new.abs() / precision.sqrt()
        with torch.no_grad():
            found = learner.predict(learner.adapt(task.support), task.query.inputs)
        errors.append(((found.mean[:, 0] - mean) / std)[far].square())
        ratios.append((found.std[:, 0] / std)[far])
    assert float(torch.cat(errors).mean()) < 0.2
    assert 0.9 < float(torch.cat(ratios).mean()) < 1.3


def test_a_member_of_an_ensemble_is_maml() -> None:
    torch.manual_seed(0)
    task, net = doubled(regression_task()), nets.mlp(1, (5,), outputs=1)
    ensemble = EnsembleMAML(net, particles=3, lr=0.1, steps=2, noise=0.2).double()
    found = ensemble.predict(ensemble.adapt(task.support), task.query.inputs)
    alone = MAML(net.double(), lr=0.1, steps=2)
    torch.testing.assert_close(found.means[:, 0], alone.predict(alone.adapt(task.support), task.query.inputs))
    assert float((found.means[:, 0] - found.means[:, 1]).detach().abs().min()) > 1e-6
    torch.testing.assert_close(found.stds, torch.full_like(found.stds, 0.2))


def test_platipus_believes_in_a_gaussian_around_a_gradient_step() -> None:
    torch.manual_seed(0)
    task, net = doubled(regression_task()), nets.mlp(1, (3,), outputs=1).double()
    learner = PLATIPUS(net, prior_lr=0.3, posterior_lr=0.2, spread=0.05).double()
    prior, teacher = learner.latent(task.support), learner.posterior(task.support, task.query)
    for found, rows, lr in ((prior, task.support, 0.3), (teacher, task.query, 0.2)):
        grads = torch.autograd.grad((net(rows.inputs) - rows.labels).square().mean(), list(net.parameters()))
        wanted = torch.cat([(p - lr * g).flatten() for p, g in zip(net.parameters(), grads, strict=True)])
        torch.testing.assert_close(found.mean, wanted)
        torch.testing.assert_close(found.std, torch.full_like(wanted, 0.05))
    # The objective is the loss of one draw from the teacher, and the KL in closed form.
    noise = random.normal(KEY, 1, len(prior.mean), dtype=torch.float64)
    state = learner.given(task.support, teacher.mean + teacher.std * noise)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(*teacher), normal(*prior)).sum()
    wanted = learner.loss(state, task.query) + kl / 5
    torch.testing.assert_close(elbo(learner, task, KEY), wanted)


def test_what_is_wrong_is_said() -> None:
    support = classification_task().support
    for learner in (VERSA(None, 3, 4), LaplaceHead(None, 3, 4), PLATIPUS(nets.mlp(4, (3,), outputs=3))):
        with pytest.raises(InputError, match="drawn through a key"):
            learner.adapt(support)
    with pytest.raises(InputError, match="noise must be positive"):
        EnsembleMAML(nets.mlp(1, (3,), outputs=1), noise=0.0)
    with pytest.raises(InputError, match="must be positive"):
        PLATIPUS(nets.mlp(1, (3,), outputs=1), spread=0.0)
    with pytest.raises(InputError, match="must be positive"):
        LaplaceHead(None, 3, 4, newton=0)
    with pytest.raises(InputError, match="must be positive"):
        VERSA(None, 3, 4, samples=0)
    frozen = nets.mlp(1, (3,), outputs=1).requires_grad_(False)
    with pytest.raises(InputError, match="nothing to adapt"):
        EnsembleMAML(frozen)
