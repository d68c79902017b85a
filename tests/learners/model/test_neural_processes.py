"""Neural processes against plain loops over rows, heads and draws."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import quickstudy as qs
from quickstudy import Examples, Task, batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.learners import CNP, NP, AttentiveNP
from quickstudy.objectives import elbo

pytestmark = pytest.mark.usefixtures("float64")

KEY = random.key(3)


def task(mask: Tensor | None = None) -> Task:
    support = Examples(torch.randn(5, 2), torch.randn(5, 1), mask)
    return Task(support, Examples(torch.randn(4, 2), torch.randn(4, 1)))


def run(net: nn.Sequential, x: Tensor) -> Tensor:
    for layer in net:
        x = layer.weight @ x + layer.bias if isinstance(layer, nn.Linear) else x.clamp(min=0)
    return x


def spread(raw: Tensor, least: float = 0.01) -> Tensor:
    return least + (1 - least) * (1 + raw.exp()).log()


def latent(learner: NP | AttentiveNP, rows: list[tuple[Tensor, Tensor]]) -> Normal:
    s = torch.stack([run(learner.latent_encoder, torch.cat([x, y])) for x, y in rows]).mean(0)
    mean, raw = run(learner.latent_head, s).chunk(2)
    return Normal(mean, 0.1 + 0.9 / (1 + (-raw).exp()))


def test_cnp_by_loops() -> None:
    learner, keep = CNP(2, 1, width=6), [0, 1, 3]
    one = task(torch.tensor([True, True, False, True, False]))
    found = learner.predict(learner.adapt(one.support), one.query.inputs)
    r = sum(run(learner.encoder, torch.cat([one.support.inputs[i], one.support.labels[i]])) for i in keep) / 3
    for q, x in enumerate(one.query.inputs):
        mean, raw = run(learner.decoder, torch.cat([x, r]))
        torch.testing.assert_close(found.mean[q, 0], mean)
        torch.testing.assert_close(found.std[q, 0], spread(raw))
    expected = -Normal(found.mean, found.std).log_prob(one.query.labels).mean()
    torch.testing.assert_close(learner.loss(learner.adapt(one.support), one.query), expected)


def test_np_by_loops() -> None:
    learner, one = NP(2, 1, width=6, samples=3), task()
    found = learner.predict(learner.adapt(one.support, KEY), one.query.inputs)
    prior = latent(learner, list(zip(one.support.inputs, one.support.labels, strict=True)))
    noise = random.normal(KEY, 3, 6, dtype=torch.float64)
    for q, x in enumerate(one.query.inputs):
        density = torch.tensor(0.0)
        for draw in noise:
            mean, raw = run(learner.decoder, torch.cat([x, prior.mean + prior.stddev * draw]))
            density = density + Normal(mean, spread(raw)).log_prob(one.query.labels[q, 0]).exp() / 3
        torch.testing.assert_close(found.log_prob(one.query.labels)[q], density.log())


def attended(learner: AttentiveNP, rows: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Return r*(x), head by head and row by row."""
    q = learner.to_queries(run(learner.address, x))
    heads = []
    for h in range(learner.heads):
        size = learner.width // learner.heads
        part = slice(h * size, (h + 1) * size)
        keys = [learner.to_keys(run(learner.address, a))[part] for a, _ in rows]
        values = [learner.to_values(run(learner.encoder, torch.cat([a, b])))[part] for a, b in rows]
        scores = torch.stack([(q[part] * key).sum() / math.sqrt(size) for key in keys]).exp()
        heads.append(sum(w * v for w, v in zip(scores / scores.sum(), values, strict=True)))
    return learner.join(torch.cat(heads))


def test_attentive_np_by_loops() -> None:
    learner, one = AttentiveNP(2, 1, width=6, heads=2, samples=2), task(torch.tensor([True, False, True, True, True]))
    found = learner.predict(learner.adapt(one.support, KEY), one.query.inputs)
    rows = [(one.support.inputs[i], one.support.labels[i]) for i in (0, 2, 3, 4)]
    prior, noise = latent(learner, rows), random.normal(KEY, 2, 6, dtype=torch.float64)
    for q, x in enumerate(one.query.inputs):
        for k in range(2):
            z = prior.mean + prior.stddev * noise[k]
            mean, raw = run(learner.decoder, torch.cat([x, attended(learner, rows, x), z]))
            torch.testing.assert_close(found.means[q, k, 0], mean)
            torch.testing.assert_close(found.stds[q, k, 0], spread(raw))


def test_elbo_by_loops() -> None:
    learner, one = NP(2, 1, width=6), task(torch.tensor([True, True, False, True, False]))
    rows = [(one.support.inputs[i], one.support.labels[i]) for i in (0, 1, 3)]
    everything = [*rows, *zip(one.query.inputs, one.query.labels, strict=True)]
    prior, posterior = latent(learner, rows), latent(learner, everything)
    z = posterior.mean + posterior.stddev * random.normal(KEY, 1, 6, dtype=torch.float64)[0]
    total = -kl_divergence(posterior, prior).sum()
    for x, y in zip(one.query.inputs, one.query.labels, strict=True):
        mean, raw = run(learner.decoder, torch.cat([x, z]))
        total = total + Normal(mean, spread(raw)).log_prob(y[0])
    torch.testing.assert_close(elbo(learner, one, KEY), -total / 4)


@pytest.mark.parametrize("build", [NP, AttentiveNP], ids=["NP", "AttentiveNP"])
def test_elbo_batched_is_looped_and_its_gradient_is_its_slope(build: type[NP | AttentiveNP]) -> None:
    learner = build(1, 1, width=8, samples=2)
    tasks = batching.to_dtype(qs.tasks.GaussianProcess(shots=(2, 5), queries=3).batch(0, 3), torch.float64)
    keys = random.fold_in(KEY, torch.arange(3))
    losses = MetaLoss(learner, elbo)
    together = losses(tasks, keys)
    alone = torch.stack([elbo(learner, batching.select(tasks, i), keys[i]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    parameters = list(learner.parameters())
    way = [torch.randn_like(p) for p in parameters]
    slope = sum((g * w).sum() for g, w in zip(torch.autograd.grad(together.sum(), parameters), way, strict=True))

    def moved(step: float) -> Tensor:
        with torch.no_grad():
            for p, w in zip(parameters, way, strict=True):
                p += step * w
            value = losses(tasks, keys).sum()
            for p, w in zip(parameters, way, strict=True):
                p -= step * w
            return value

    torch.testing.assert_close(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-5, atol=1e-6)


def test_elbo_needs_a_latent_variable_and_z_a_key() -> None:
    with pytest.raises(InputError, match="CNP has no latent variable"):
        elbo(CNP(2), task(), KEY)
    with pytest.raises(InputError, match="key"):
        NP(2).adapt(task().support)


@pytest.mark.parametrize("build", [CNP, NP, AttentiveNP], ids=["CNP", "NP", "AttentiveNP"])
def test_misfits_are_refused(build: type[CNP | NP | AttentiveNP]) -> None:
    labels = Examples(torch.randn(4, 1), [0, 1, 0, 1])
    for support in (
        labels,
        Examples(torch.randn(4, 3), torch.randn(4)),
        Examples(torch.randn(4, 1), torch.randn(4, 2)),
    ):
        with pytest.raises(InputError):
            build(width=8).learn(support, KEY)
    with pytest.raises(InputError, match="positive"):
        build(width=0)


@pytest.mark.parametrize("name", ["gp-cnp", "gp-np", "gp-anp"])
def test_a_little_training_beats_knowing_only_the_marginal(name: str) -> None:
    """Without the support nothing beats N(0, 1 + noise^2): the learners must have read it."""
    torch.set_default_dtype(torch.float32)
    recipe = qs.registry.lookup("recipe", name).build(
        steps=200, width=48, lr=3e-3, compile=False, length_scale=(0.8, 1.2), queries=20, train_shots=(10, 11)
    )
    learner = recipe.train(None, progress=False).learner
    marginal = -0.5 * math.log(2 * math.pi * 1.01) - 0.5
    assert qs.evaluate(learner, recipe.plan().test, 200).mean > marginal + 0.15
