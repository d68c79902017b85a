"""Stein variational gradient descent."""

import math

import pytest
import torch

from quickstudy.errors import InputError
from quickstudy.rules.svgd import SVGD, direction


def test_direction_is_the_double_sum() -> None:
    torch.manual_seed(0)
    x, scores = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    distances = sorted(float((x[i] - x[j]).square().sum()) for i in range(5) for j in range(i))
    h = distances[(len(distances) - 1) // 2] / math.log(5)
    expected = torch.zeros_like(x)
    for i in range(5):
        for j in range(5):
            here = x[j].clone().requires_grad_()
            kernel = torch.exp(-(here - x[i]).square().sum() / h)
            (slope,) = torch.autograd.grad(kernel, here)
            expected[i] += (kernel.detach() * scores[j] + slope) / 5
    torch.testing.assert_close(direction(x, scores), expected)


def test_update_moves_every_tensor_of_theta() -> None:
    torch.manual_seed(0)
    theta = {"w": torch.randn(4, 2, 3), "b": torch.randn(4)}
    grads = {name: torch.randn_like(value) for name, value in theta.items()}
    moved, state = SVGD(0.1).update(grads, (), theta)
    flat = torch.cat([theta["w"].flatten(1), theta["b"].unsqueeze(1)], 1)
    score = -torch.cat([grads["w"].flatten(1), grads["b"].unsqueeze(1)], 1)
    wanted = flat + 0.1 * direction(flat, score)
    torch.testing.assert_close(moved["w"].flatten(1), wanted[:, :6])
    torch.testing.assert_close(moved["b"], wanted[:, 6])
    assert state == ()


def test_particles_come_to_lie_as_draws_of_a_gaussian() -> None:
    torch.manual_seed(0)
    rule, x = SVGD(0.5), 0.1 * torch.randn(40, 1, dtype=torch.float64) - 3
    for _ in range(1000):
        x = rule.update({"x": (x - 2) / 0.5**2}, (), {"x": x})[0]["x"]
    assert float(x.mean()) == pytest.approx(2, abs=0.02)
    assert float(x.std()) == pytest.approx(0.5, rel=0.1)


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="lr must be positive"):
        SVGD(0.0)
    with pytest.raises(InputError, match="at least 2 particles"):
        SVGD(0.1).update({"x": torch.ones(1, 2)}, (), {"x": torch.ones(1, 2)})
