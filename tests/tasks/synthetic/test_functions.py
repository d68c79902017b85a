"""Regression families."""

import math

import pytest
import torch

from quickstudy.errors import InputError
from quickstudy.tasks import Linear, MultiModal, Sinusoid


def test_sinusoids_are_as_defined() -> None:
    tasks = Sinusoid(shots=10, queries=5)
    plan = tasks.plan(torch.arange(5000))
    batch = tasks.gather(plan)
    a, phi = plan["parameter.amplitude"], plan["parameter.phase"]
    for rows in (batch.support, batch.query):
        expected = a[:, None, None] * torch.sin(rows.inputs - phi[:, None, None])
        torch.testing.assert_close(rows.labels, expected)
        assert -5 <= float(rows.inputs.min()) < -4.99
        assert 4.99 < float(rows.inputs.max()) < 5
    assert batch.support.inputs.shape == (5000, 10, 1)
    assert batch.support.ways is None
    assert 0.1 <= float(a.min()) < 0.11
    assert 4.99 < float(a.max()) < 5
    assert 0 <= float(phi.min()) < 0.01
    assert math.pi - 0.01 < float(phi.max()) <= math.pi
    assert float(a.mean()) == pytest.approx(2.55, abs=0.06)
    assert float(phi.mean()) == pytest.approx(math.pi / 2, abs=0.04)
    assert abs(float(torch.corrcoef(torch.stack([a, phi]))[0, 1])) < 0.05
    assert abs(float(torch.corrcoef(torch.stack([a, plan["x"][:, 0]]))[0, 1])) < 0.05


@pytest.mark.parametrize("tasks", [Sinusoid(), Linear(), MultiModal()], ids=lambda tasks: tasks.name)
def test_stream_is_seekable(tasks: Sinusoid) -> None:
    ahead, whole = tasks.batch(5, 2), tasks.batch(0, 6)
    assert torch.equal(ahead.support.inputs[0], whole.support.inputs[5])
    assert torch.equal(ahead.query.labels[0], whole.query.labels[5])


def test_multi_modal_noise_is_on_the_queries_too() -> None:
    clean, noisy = (MultiModal(shots=5, queries=40, noise=noise).batch(0, 200) for noise in (0.0, 0.3))
    gaps = noisy.query.labels - clean.query.labels
    assert abs(float(gaps.std()) - 0.3) < 0.01


def test_noise_is_on_the_support_only() -> None:
    clean, noisy = (Sinusoid(shots=40, queries=5, noise=noise).batch(0, 200) for noise in (0.0, 0.5))
    assert torch.equal(clean.query.labels, noisy.query.labels)
    gap = noisy.support.labels - clean.support.labels
    assert float(gap.std()) == pytest.approx(0.5, abs=0.02)
    assert abs(float(gap.mean())) < 0.02


@pytest.mark.parametrize("mode", ["sine", "sinusoid", "linear", "quadratic", "tanh", "l1"])
def test_each_mode_is_its_formula(mode: str) -> None:
    tasks = MultiModal(modes=(mode,), noise=0.0)
    plan = tasks.plan(torch.arange(50))
    batch = tasks.gather(plan)
    for u, xs, ys in zip(plan["parameter.u"].double(), batch.query.inputs, batch.query.labels, strict=True):
        a, b, c, d = u.tolist()
        sign = -1 if d < 0.5 else 1
        for x, y in zip(xs.flatten().tolist(), ys.flatten().tolist(), strict=True):
            centre, height = -3 + 6 * b, -3 + 6 * c
            expected = {
                "sine": (0.1 + 4.9 * a) * math.sin(x - math.pi * b),
                "sinusoid": (0.1 + 4.9 * a) * math.sin((0.5 + 1.5 * b) * x + 2 * math.pi * c),
                "linear": (-3 + 6 * a) * x + centre,
                "quadratic": sign * (0.02 + 0.13 * a) * (x - centre) ** 2 + height,
                "tanh": (-3 + 6 * a) * math.tanh(x - centre) + height,
                "l1": sign * (0.02 + 0.13 * a) * abs(x - centre) + height,
            }[mode]
            assert y == pytest.approx(expected, abs=1e-4)


def test_modes_are_mixed_evenly() -> None:
    tasks = MultiModal(modes=("tanh", "linear", "l1"))
    modes = torch.bincount(tasks.plan(torch.arange(3000))["parameter.mode"])
    assert bool((modes - 1000).abs().max() < 120)


def test_linear_tasks_are_lines() -> None:
    batch = Linear(shots=3, queries=3).batch(0, 2000)
    x, y = batch.query.inputs[..., 0].double(), batch.query.labels[..., 0].double()
    slope = (y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0])
    torch.testing.assert_close(y[:, 2] - y[:, 0], slope * (x[:, 2] - x[:, 0]), atol=1e-2, rtol=1e-2)
    plan = Linear().plan(torch.arange(5000))
    assert float(plan["parameter.w"].std()) == pytest.approx(1, abs=0.05)


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="shots must be a positive number"):
        Sinusoid(shots=0)
    with pytest.raises(InputError, match="queries must be at least 1"):
        Linear(queries=0)
    with pytest.raises(InputError, match="unknown mode 'cubic'"):
        MultiModal(modes=("cubic",))
    assert repr(Sinusoid(shots=3)) == "Sinusoid(shots=3, queries=10, noise=0.0)"
