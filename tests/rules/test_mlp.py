"""The MLP rule against a plain reading of its equations, and the weights that come with the library."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.datasets import load_iris
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import optim, shipped
from quickstudy.errors import InputError
from quickstudy.rules import MLPRule, mlp
from quickstudy.rules.base import Theta

SHAPES = {"w": (4, 3), "b": (3,), "scalar": (), "conv": (2, 3, 2, 2)}


def draws(seed: int, scale: float = 1.0) -> Theta:
    generator = torch.Generator().manual_seed(seed)
    return {n: scale * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in SHAPES.items()}


def perturbed(seed: int = 0) -> MLPRule:
    torch.manual_seed(seed)
    rule = MLPRule(hidden=3, width=5).double().requires_grad_(False)
    for value in rule.parameters():
        value.add_(0.1 * torch.randn_like(value))
    return rule


def run(rule: MLPRule, theta: Theta, grads: list[Theta], steps: int | None) -> Theta:
    state = rule.start(theta, steps)
    for grad in grads:
        theta, state = rule.update(grad, state, theta)
    return theta


def plainly(rule: MLPRule, theta: np.ndarray, grads: list[np.ndarray], n: int) -> np.ndarray:
    """Return one tensor after some of n steps (0: unknown), number by number where numbers are moved."""
    w = {name: value.numpy() for name, value in rule.named_parameters()}
    kept = 1 - (1 - np.array([0.5, 0.9, 0.99, 0.9, 0.99])) * np.exp(w["shift"])
    sums, quick, slow, r = np.zeros((5, theta.size)), np.zeros(3), np.zeros(3), 0.0
    shape, theta = theta.shape, theta.ravel().copy()
    fan_in = math.prod(shape[1:])
    for t, grad in enumerate(grads):
        g = grad.ravel()
        before = sums[:3].copy()
        sums = kept[:, None] * sums + (1 - kept[:, None]) * np.stack([g, g, g, g**2, g**2])
        m, v = np.split(sums / (1 - kept ** (t + 1))[:, None], [3])
        now, earlier = g / np.sqrt(v[1]), before / np.sqrt(v[1])
        u = np.stack([*(m[i] / np.sqrt(v[j]) for i in range(3) for j in range(2)), now])
        norms = np.sqrt((earlier**2).sum(1) * (now**2).sum()) if t else np.ones(3)
        cosines = earlier @ now / norms
        quick, slow = 0.8 * quick + 0.2 * cosines, 0.97 * slow + 0.03 * cosines
        left = math.log((n - t) / n) if n else 0.0
        size, level = np.sqrt((theta**2).mean()), np.log(v).mean(1)
        z = [
            *(np.log((u**2).mean(1) + 1e-8) / 4),
            (level[0] - level[1]) / 2,
            math.log(size) / 2 + 1,
            math.log(theta.size) / 5,
            float(len(shape) < 2),
            math.log(fan_in) / 3,
            *(3 * quick),
            *(3 * slow),
            r / 2,
            math.log1p(t) / 5,
            math.exp(-t / 5),
            float(n > 0),
            left / 2,
            math.exp(left) * (n > 0),
            math.log1p(t) / 5 * (n > 0),
            math.log1p(n) / 5,
        ]
        out = np.maximum(np.array(z) @ w["tensor_in"] + w["tensor_bias"], 0) @ w["tensor_out"]
        climb, a = out[:2] + np.array(z) @ w["tensor_direct"]
        r = 0.995 * r + 0.01 * math.tanh(climb)
        base, p, q, tau = w["nominal"]
        nominal = base + p * left if n else base - q * math.log1p(t / math.exp(tau))
        rate = math.exp(nominal + r + 3 * math.tanh(a / 3))
        for i in range(theta.size):
            ui, spread = np.clip(u[:, i], -5, 5), np.log(v[:, i])
            x = [abs(ui[1]) - 0.5, abs(ui[3]) - 0.5, abs(ui[5]) - 0.5, abs(ui[6]) - 0.5, ui[6] * ui[3], ui[1] * ui[5]]
            x += [(spread[0] - spread[1]) / 2, (spread[1] - level[1]) / 4, abs(theta[i]) / size - 1]
            h = np.maximum(w["seen_in"] @ np.clip(x, -3, 3) + w["seen_bias"] + out[2:], 0)
            *c, e = w["seen_out"] @ h
            theta[i] -= rate * ((w["mixture"] + c) @ ui) * math.exp(np.clip(e, -3, 3))
    return theta.reshape(shape)


@pytest.mark.parametrize("steps", [None, 6])
def test_steps_are_what_the_equations_say(steps: int | None) -> None:
    rule, theta, grads = perturbed(), draws(0), [draws(i + 1, 0.7**i) for i in range(5)]
    moved = run(rule, theta, grads, steps)
    for name, value in theta.items():
        expected = plainly(rule, value.numpy(), [grad[name].numpy() for grad in grads], steps or 0)
        np.testing.assert_allclose(moved[name].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_untrained_is_adam_whose_rate_falls() -> None:
    rule = MLPRule(lr=0.1, squares=(0.99, 0.99)).double()
    theta, steps = draws(0), 8
    grads = [draws(i + 1) for i in range(steps)]
    leaves = [value.clone().requires_grad_() for value in theta.values()]
    adam = torch.optim.Adam(leaves, lr=0.1, betas=(0.9, 0.99), eps=0)
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda t: 1 - t / steps)
    for grad in grads:
        for leaf, value in zip(leaves, grad.values(), strict=True):
            leaf.grad = value
        adam.step()
        falling.step()
    with torch.no_grad():
        moved = run(rule, theta, grads, steps)
    torch.testing.assert_close(list(moved.values()), [leaf.detach() for leaf in leaves], rtol=1e-6, atol=1e-7)


def test_a_loss_multiplied_by_a_number_is_trained_in_the_same_steps() -> None:
    rule, theta, grads = perturbed(), draws(0), [draws(i + 1) for i in range(5)]
    scaled = [{name: 1e4 * value for name, value in grad.items()} for grad in grads]
    torch.testing.assert_close(run(rule, theta, scaled, 6), run(rule, theta, grads, 6), rtol=1e-6, atol=1e-8)


def test_turned_gradients_turn_the_step_and_zero_ones_rest() -> None:
    rule, theta, grad = perturbed(), draws(0), draws(1)
    there = run(rule, theta, [grad], None)
    back = run(rule, theta, [{name: -value for name, value in grad.items()}], None)
    still = run(rule, theta, [{name: 0 * value for name, value in grad.items()}] * 3, None)
    for name, value in theta.items():
        assert not torch.equal(there[name], value)
        torch.testing.assert_close(there[name] - value, value - back[name])
        assert torch.equal(still[name], value)


def test_each_tensor_is_moved_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, theta, grads = perturbed(), draws(0), [draws(i + 1) for i in range(3)]
    together = run(rule, theta, grads, None)
    monkeypatch.setattr(mlp, "TOGETHER", 15)
    torch.testing.assert_close(run(rule, theta, grads, None), together)
    alone = run(rule, {"b": theta["b"]}, [{"b": grad["b"]} for grad in grads], None)
    torch.testing.assert_close(alone["b"], together["b"])


def test_a_number_of_steps_that_is_passed_does_no_harm() -> None:
    rule, theta = perturbed(), draws(0)
    moved = run(rule, theta, [draws(i + 1) for i in range(6)], 3)
    assert all(torch.isfinite(value).all() for value in moved.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden": 0}, "hidden"),
        ({"lr": -1.0}, "lr"),
        ({"momenta": (0.9, 0.99)}, "momenta must be 3 numbers"),
        ({"squares": (0.9, 1.0)}, "squares"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MLPRule(**given)  # type: ignore[arg-type]


# The weights that come with the library.

WEIGHTS = shipped.WEIGHTS / f"{optim.DEFAULT}.safetensors"


def test_shipped_weights_are_small_plain_tensors_with_a_card() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    with safe_open(WEIGHTS, framework="np") as file:
        assert list(file.keys())
    assert isinstance(optim.shipped(), MLPRule)
    assert "## Limits" in WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")


def test_shipped_weights_are_package_data() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["quickstudy"]
    package = Path(qs.__file__).parent
    found = {path for pattern in patterns for path in package.glob(pattern)}
    assert {WEIGHTS, WEIGHTS.with_suffix(".md")} <= found


def test_shipped_optimiser_fits_better_than_adam_untuned() -> None:
    inputs, labels = load_iris(return_X_y=True)
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)

    def final(make: object) -> Tensor:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
        optimizer = make(net.parameters())  # type: ignore[operator]
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        return loss.detach()

    assert final(optim.LearnedOptimizer) < 0.5 * final(torch.optim.Adam)
