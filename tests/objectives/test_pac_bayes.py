"""PAC-Bayes bounds and their terms, against the formulae by hand, sampling and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.functional.pac_bayes import amit_meir, gaussian_kl, pacoh
from quickstudy.functional.random import fold_in, key


def learner(ways=2, dimensions=3):
    torch.manual_seed(3)
    made = qs.learners.GibbsClassifier(None, ways, dimensions, prior=0.4, posterior=0.2, noise=0.8).double()
    with torch.no_grad():
        made.omega.normal_()
    return made


def task(rows=7, dimensions=3, ways=2):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, rows, dimensions, dtype=torch.float64, generator=generator)
    y = torch.arange(rows) % ways
    return qs.Task(qs.Examples(x[0], y, ways=ways), qs.Examples(x[1], y, ways=ways))


def test_bounds_are_the_papers_formulae():
    errors, divergences = torch.tensor([0.1, 0.3], dtype=torch.float64), torch.tensor([2.0, 5.0], dtype=torch.float64)
    found = amit_meir(errors, divergences, torch.tensor(1.5, dtype=torch.float64), rows=50, tasks=2, delta=0.1)
    term = [math.sqrt((1.5 + d + math.log(2 * 2 * 50 / 0.1)) / (2 * 49)) for d in (2.0, 5.0)]
    assert float(found.task) == pytest.approx(sum(term) / 2)
    assert float(found.environment) == pytest.approx(math.sqrt((1.5 + math.log(2 * 2 / 0.1)) / 2))
    assert float(found.total) == pytest.approx(0.2 + sum(term) / 2 + float(found.environment))
    other = pacoh(errors, divergences, torch.tensor(1.5, dtype=torch.float64), 50, 2, 0.1, beta=20.0, scale=4.0)
    expected = 0.2 + (1 / 4 + 1 / (2 * 20)) * (1.5 + math.log(20)) + 3.5 / 20 + 4 / (8 * 2) + 20 / (8 * 50)
    assert float(other.total) == pytest.approx(expected)
    for wrong in ({"rows": 1, "tasks": 2}, {"rows": 2, "tasks": 1}, {"rows": 2, "tasks": 2, "delta": 1.0}):
        with pytest.raises(InputError):
            amit_meir(errors, divergences, torch.tensor(0.0), **wrong)


def test_a_mean_over_tasks_is_the_bound_of_all():
    made, objective = learner(), qs.objectives.PACBayes(6)
    batch = batching.to_dtype(qs.tasks.HalfSpaces(3, 20, 4, tasks=6).batch(0, 6), torch.float64)
    losses = batching.map_tasks(lambda one, k: objective(made, one, k), batch, fold_in(key(0), torch.arange(6)))
    states = batching.adapt(made, batch.support)
    errors = batching.map_tasks(made.gibbs_errors, states, batch.support)
    whole = amit_meir(errors, states.divergence, made.hyper_divergence(), 20, 6)
    torch.testing.assert_close(losses.mean(), whole.total)
    torch.testing.assert_close(objective.of(made, batch).total, whole.total.detach())


def test_divergences_are_those_of_torch():
    a, b = Normal(torch.tensor([0.3, -1.0]), 0.5), Normal(torch.tensor([1.0, 0.0]), 2.0)
    found = gaussian_kl(a.mean, torch.tensor(0.5), b.mean, torch.tensor(2.0))
    torch.testing.assert_close(found, kl_divergence(a, b).sum())
    made = learner()
    kappa = made.log_kappa.exp().detach()
    torch.testing.assert_close(
        made.hyper_divergence().detach(),
        kl_divergence(Normal(made.omega.detach(), kappa), Normal(torch.zeros(1, 3).double(), 1.0)).sum(),
    )


@pytest.mark.parametrize("ways", [2, 3])
def test_terms_of_the_classifier_are_means_of_draws(ways):
    """Draw prior means, fit each posterior by scikit-learn, draw weights, count errors."""
    made, one = learner(ways), task(9, ways=ways)
    x, rows = one.support.inputs.numpy(), one.query.inputs.numpy()
    classes = [1] if ways == 2 else range(ways)
    signs = np.stack([2.0 * (one.support.labels.numpy() == c) - 1 for c in classes])
    state = made.adapt(one.support)
    rng, draws = np.random.default_rng(0), 1500
    omega, kappa = made.omega.detach().numpy(), math.exp(float(made.log_kappa.detach()))
    penalty, wrong, divergences = made.noise**2 / made.prior**2, [], []
    for _ in range(draws):
        theta = omega + kappa * rng.standard_normal(omega.shape)
        # A ridge about theta: of what theta leaves unexplained.
        fit = theta + Ridge(penalty, fit_intercept=False).fit(x, (signs - theta @ x.T).T).coef_.reshape(omega.shape)
        ratio = (made.posterior / made.prior) ** 2
        gap = np.square((fit - theta) / made.prior).sum()
        divergences.append((omega.size * (ratio - 1 - math.log(ratio)) + gap) / 2)
        w = fit + made.posterior * rng.standard_normal(omega.shape)
        answers = np.stack([2.0 * (one.query.labels.numpy() == c) - 1 for c in classes])
        wrong.append((np.sign(w @ rows.T) != answers).mean())
    error = 4 * np.std(wrong) / math.sqrt(draws)
    assert float(made.gibbs_errors(state, one.query).detach()) == pytest.approx(np.mean(wrong), abs=error)
    error = 4 * np.std(divergences) / math.sqrt(draws)
    assert float(state.divergence.detach()) == pytest.approx(np.mean(divergences), abs=error)


def test_two_classes_are_answered_as_the_vote_goes():
    made, one = learner(), task()
    state = made.adapt(one.support)
    chance = torch.softmax(made.predict(state, one.query.inputs), 1)[:, 1]
    spread = MultivariateNormal(state.mean[0].detach(), state.covariance.detach())
    votes = (spread.sample((40_000,)) @ one.query.inputs.T > 0).double().mean(0)
    torch.testing.assert_close(chance.detach(), votes, atol=0.012, rtol=0)


def test_the_bound_holds_and_says_something():
    counts = 1000
    made, seen = qs.learners.GibbsClassifier(None, 2, 4), qs.tasks.HalfSpaces(4, 400, tasks=counts)
    objective = qs.objectives.PACBayes(counts)
    outer = qs.outer.Gradient(0.05, schedule="cosine")
    qs.meta_train(made, seen, outer, steps=40, meta_batch=20, objective=objective, compile=False, progress=False)

    bound = objective.of(made, seen.batch(0, counts)).total
    batch = qs.tasks.HalfSpaces(4, 400, seed=99).batch(0, counts)
    measured = batching.map_tasks(made.gibbs_errors, batching.adapt(made, batch.support), batch.query).mean()
    assert measured < bound < 0.5
    with pytest.raises(InputError, match="of 1000 tasks"):
        objective.of(made, batching.select(batch, slice(0, 10)))


def test_half_spaces_repeat_and_nonsense_is_refused():
    tasks = qs.tasks.HalfSpaces(3, 50, 50, flips=0.2, tasks=5)
    batch = tasks.batch(0, 10)
    assert torch.equal(batch.support.inputs[:5], batch.support.inputs[5:])
    plan = qs.tasks.HalfSpaces(3, 50, 50, flips=0.2).plan(torch.arange(500))
    drawn = qs.tasks.HalfSpaces(3, 50, 50, flips=0.2).gather(plan)
    right = (torch.einsum("tsd,td->ts", drawn.query.inputs, plan["w"]) > 0).long() == drawn.query.labels
    assert float(right.double().mean()) == pytest.approx(0.8, abs=0.01)
    for options in ({"dimensions": 0}, {"flips": 0.5}, {"spread": -1.0}, {"tasks": 0}):
        with pytest.raises(InputError):
            qs.tasks.HalfSpaces(**options)
    for options in ({"tasks": 1}, {"delta": 0.0}, {"bound": "pacho"}):
        with pytest.raises(InputError):
            qs.objectives.PACBayes(**options)
    padded = qs.Examples(torch.zeros(2, 3), torch.arange(2), torch.tensor([True, False]))
    with pytest.raises(InputError, match="padding"):
        qs.objectives.PACBayes()(qs.learners.GibbsClassifier(None, 2, 3), qs.Task(padded, padded), key(0))
    with pytest.raises(InputError, match="positive"):
        qs.learners.GibbsClassifier(None, 2, 3, prior=0.0)
    with pytest.raises(InputError, match="built for 2 ways"):
        learner().adapt(task(ways=3).support)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    with pytest.raises(InputError, match="no row of a task changes"):
        qs.meta_train(
            qs.learners.GibbsClassifier(net, 2, 4, batch_norm="support"), tasks, objective="PACBayes", progress=False
        )
    with pytest.raises(InputError, match="PAC-Bayes bound needs"):
        qs.meta_train(qs.learners.MAML(qs.nets.mlp(3, (4,), 2)), tasks, steps=1, objective="PACBayes", progress=False)
