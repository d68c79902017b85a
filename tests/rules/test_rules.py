"""Learned update rules, each against a plain reading of its equations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import registry
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Unrolled
from quickstudy.learners import L2O
from quickstudy.rules import LearnedRule, LSTMRule, MLPRule, VeLO
from quickstudy.rules.base import Theta
from quickstudy.testing import check_learner
from quickstudy.testing.specimens import problem_task

RULES: dict[str, Callable[[], LearnedRule]] = {
    "LSTMRule": lambda: LSTMRule(hidden=3),
    "MLPRule": MLPRule,
    "VeLO": lambda: VeLO(hidden=5, bank=3),
}
SHAPES = {"scalar": (), "b": (3,), "w": (4, 3), "one": (1, 2), "conv": (2, 3, 2, 2), "five": (2, 1, 3, 2, 2)}
STEPS = 3


def draws(seed: int, scale: float = 1.0) -> Theta:
    generator = torch.Generator().manual_seed(seed)
    return {n: scale * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in SHAPES.items()}


def built(name: str, seed: int = 0) -> LearnedRule:
    torch.manual_seed(seed)
    rule = RULES[name]().double()
    if isinstance(rule, VeLO):
        with torch.no_grad():
            # At zero, layers that follow a dead one stand on the kink of the ReLU.
            for bias in rule.biases:
                bias.normal_()
    return rule


def trajectory(rule: LearnedRule, theta: Theta, grads: list[Theta], losses: Tensor) -> Theta:
    state = rule.start(theta, STEPS)
    for grad, loss in zip(grads, losses, strict=True):
        theta, state = rule.update(grad, state, theta, loss)
    return theta


LOSSES = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)


def test_every_learned_rule_is_here() -> None:
    learned = {name for name, entry in registry.table("rule").items() if issubclass(entry.build, LearnedRule)}  # type: ignore[arg-type]
    assert set(RULES) <= learned


@pytest.mark.parametrize("name", RULES)
def test_description_builds_the_same_rule(name: str) -> None:
    rule = built(name)
    again = registry.build(registry.describe(rule))
    assert type(again) is type(rule)
    assert again.config == rule.config
    again.double().load_state_dict(rule.state_dict())
    theta, grads = draws(0), [draws(i) for i in range(STEPS)]
    expected = trajectory(rule, theta, grads, LOSSES)
    torch.testing.assert_close(trajectory(again, theta, grads, LOSSES), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", RULES)
def test_state_is_a_dict_of_tensors_by_tensor_and_name(name: str) -> None:
    rule, theta = built(name), draws(0)
    before = rule.start(theta, STEPS)
    _, after = rule.update(draws(1), before, theta, LOSSES[0])
    assert list(before) == list(theta)
    for own in theta:
        shapes = {part: tuple(value.shape) for part, value in before[own].items()}
        assert shapes == {part: tuple(value.shape) for part, value in after[own].items()}


@pytest.mark.parametrize("name", RULES)
def test_batched_is_looped(name: str) -> None:
    rule = built(name)
    thetas, grads = [draws(i) for i in (0, 1)], [[draws(10 * i + t) for t in range(STEPS)] for i in (0, 1)]
    losses = torch.stack([LOSSES, 2 * LOSSES.flip(0)])
    batched = torch.func.vmap(lambda *given: trajectory(rule, *given))(
        qs.batching.stack(thetas), qs.batching.stack(grads), losses
    )
    for i in (0, 1):
        expected = trajectory(rule, thetas[i], grads[i], losses[i])
        torch.testing.assert_close(qs.batching.select(batched, i), expected)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("name", RULES)
def test_finite_whatever_the_gradients(name: str, scale: float) -> None:
    rule = built(name).float()
    theta = {n: value.float() for n, value in draws(0, min(scale, 1.0)).items()}
    grads = [{n: (scale * value).float().requires_grad_() for n, value in draws(i).items()} for i in range(STEPS)]
    moved = trajectory(rule, theta, grads, LOSSES.float())
    total = torch.stack([value.sum() for value in moved.values()]).sum()
    found = torch.autograd.grad(total, [*rule.parameters(), *grads[0].values()])
    for value in (*moved.values(), *found):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("ways", [3, None])
@pytest.mark.parametrize("name", RULES)
def test_learner_that_runs_the_rule_keeps_the_contract(name: str, ways: int | None) -> None:
    check_learner(L2O(built(name).float(), steps=STEPS, differentiation=Unrolled()), problem_task(ways))


def test_meta_gradient_of_every_weight_through_three_steps() -> None:
    task = qs.batching.to_dtype(problem_task(None), torch.float64)
    whole = _Loss(L2O(built("LSTMRule"), steps=STEPS, differentiation=Unrolled()))
    named = dict(whole.named_parameters())

    def loss(*values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(whole, dict(zip(named, values, strict=True)), (task,))
        return found

    assert torch.autograd.gradcheck(loss, tuple(named.values()), fast_mode=True)


class _Loss(nn.Module):
    def __init__(self, learner: L2O) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, task: qs.Task) -> Tensor:
        return self.learner.loss(self.learner.adapt(task.support), task.query)


# The LSTM.


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(cell: nn.Module, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return h and c of one row, as the documentation of torch.nn.LSTM says."""
    w_ih, w_hh, b_ih, b_hh = (
        getattr(cell, n).detach().numpy() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def test_lstm_moves_each_coordinate_by_its_equations() -> None:
    rule = built("LSTMRule")
    assert isinstance(rule, LSTMRule)
    grads = [np.array([0.3, -2.0, 1e-6, 0.0]) * 10.0**-t for t in range(STEPS)]
    theta = {"x": torch.zeros(2, 2, dtype=torch.float64)}
    found = trajectory(rule, theta, [{"x": torch.from_numpy(g).reshape(2, 2)} for g in grads], LOSSES)["x"].flatten()
    w, b = rule.head.weight.detach().numpy()[0], rule.head.bias.item()
    for coordinate in range(4):
        h, c, x = np.zeros((2, 3)), np.zeros((2, 3)), 0.0
        for grad in grads:
            g = grad[coordinate]
            seen = np.array([math.log(abs(g)) / 10, np.sign(g)] if abs(g) >= math.exp(-10) else [-1, math.exp(10) * g])
            for layer, cell in enumerate(rule.cells):
                h[layer], c[layer] = lstm(cell, seen, h[layer], c[layer])
                seen = h[layer]
            x += 0.1 * (w @ seen + b)
        assert found[coordinate].item() == pytest.approx(x, abs=1e-12)


def test_lstm_permutes_with_the_coordinates() -> None:
    rule, theta, grads = built("LSTMRule"), draws(0), [draws(i) for i in range(STEPS)]
    order = torch.tensor([2, 0, 3, 1])
    permuted = trajectory(rule, {"w": theta["w"][order]}, [{"w": g["w"][order]} for g in grads], LOSSES)["w"]
    torch.testing.assert_close(permuted, trajectory(rule, theta, grads, LOSSES)["w"][order])


# VeLO.


def numpy_velo(
    rule: VeLO, theta: dict[str, np.ndarray], grads: list[dict[str, np.ndarray]], losses: list[float]
) -> dict[str, np.ndarray]:
    """Return theta after some steps on vectors and matrices whose rows are no longer than their columns."""
    p = {name: value.detach().numpy() for name, value in rule.state_dict().items()}
    (decays, second), total = (each.numpy() for each in (rule.momenta, rule.squares)), len(grads)
    hidden, bank = p["begin"].shape[1], len(p["controls.bias"])

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return p[f"{name}.weight"] @ x + p[f"{name}.bias"]

    def averages(history: list[np.ndarray], d: np.ndarray) -> np.ndarray:
        return sum((1 - d) * d ** (len(history) - 1 - i) * value[..., None] for i, value in enumerate(history))  # type: ignore[return-value]

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    theta = dict(theta)
    h, c = (dict.fromkeys(theta, p["begin"][i]) for i in (0, 1))
    loss_decays = np.exp(-1 / np.full(10, 10.0))  # trainings this short have spans of 10 steps
    for t in range(total):
        # Losses: none of these exceeds twice the largest average, so none is cut; all spans being equal, so are all
        # averages, and the features tell where the average is above its minimum.
        history = [
            averages([np.array(x) for x in losses[: i + 1]], loss_decays) / (1 - loss_decays ** (i + 1))
            for i in range(t + 1)
        ]
        low = np.min(history, 0)
        going = (history[-1][:-1] - low[:-1]) / np.maximum(history[-1][1:] - low[:-1], 1e-8) - 1
        going = np.zeros(9) if t < 2 else np.clip(going, -1, 1)
        fraction = np.tanh(10 * (t / total - np.array([0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1])))
        kept, seen = {}, {}
        for name, value in theta.items():
            past = [g[name] for g in grads[: t + 1]]
            m, v = averages(past, decays), averages([g**2 for g in past], second)
            size = 1 / np.sqrt(np.mean(value**2))
            axes = tuple(range(value.ndim))
            statistics = [(v * size).mean(axes), (v * size).var(axes), (m * size).var(axes)]
            logs = [0.5 * np.clip(np.log(1e-8 + 10 * s), -5, 5) for s in statistics]
            seen[name] = np.concatenate([fraction, going, *logs, np.eye(5)[sum(size > 1 for size in value.shape)]])
            squares = [g**2 + 1e-30 for g in past]
            if value.ndim == 1:
                rows = columns = averages(squares, decays)
                scale = rows**-0.5
            else:
                column, row = (0, 1) if value.shape[0] >= value.shape[1] else (1, 0)
                rows = averages([s.mean(column, keepdims=True) for s in squares], decays)
                columns = averages([s.mean(row, keepdims=True) for s in squares], decays)
                scale = (rows / (rows.mean(row, keepdims=True) + 1e-9)) ** -0.5 * columns**-0.5
            g, whole = past[-1][..., None], (*value.shape, 3)
            rows, columns = np.broadcast_to(rows, whole), np.broadcast_to(columns, whole)
            root = (v + 1e-6) ** -0.5
            x = [g, value[..., None], m, v, m * root, root, g * scale, rows, columns, (rows + 1e-8) ** -0.5]
            x += [(columns + 1e-8) ** -0.5, m * scale, np.clip(g, -0.1, 0.1), g * root]
            kept[name] = np.concatenate(x, -1)
        told = np.max([relu(linear("others", relu(linear("inner", s)))) for s in seen.values()], 0)
        for name, value in theta.items():
            h[name], c[name] = lstm(rule.cell, linear("own", seen[name]) + told, h[name], c[name])
            controls, multiplier = linear("controls", h[name]), linear("multiplier", h[name])[0]
            axes = tuple(range(value.ndim))
            x = kept[name] / np.sqrt(1e-5 + np.mean(kept[name] ** 2, axes))
            for layer in range(3):
                w, b = (
                    100 * np.mean([controls[k] * p[f"{kind}.{layer}"][k] for k in range(bank)], 0)
                    for kind in ("weights", "biases")
                )
                x = x @ w.T + b
                x = relu(x) if layer < 2 else x
            rms = np.sqrt(np.mean(value**2) + 1e-9)
            theta[name] = value - 0.001 * multiplier * rms * x[..., 0] * np.exp(0.001 * x[..., 1])
    assert hidden == len(next(iter(h.values())))
    return theta


def test_velo_moves_each_tensor_by_its_equations() -> None:
    rule = built("VeLO")
    assert isinstance(rule, VeLO)
    names = ("b", "w", "one")
    theta = {name: draws(0)[name] for name in names}
    grads = [{name: draws(i)[name] for name in names} for i in (1, 2, 3)]
    losses = [3.0, 1.0, 2.0]
    found = trajectory(rule, theta, grads, torch.tensor(losses, dtype=torch.float64))
    expected = numpy_velo(
        rule, {n: v.numpy() for n, v in theta.items()}, [{n: v.numpy() for n, v in g.items()} for g in grads], losses
    )
    for name in names:
        moved = (found[name] - theta[name]).detach()
        assert float(moved.abs().max()) > 1e-4
        np.testing.assert_allclose(moved.numpy(), expected[name] - theta[name].numpy(), rtol=1e-6, atol=1e-12)


def test_velo_runs_without_loss_or_number_of_steps() -> None:
    rule, theta, grad = built("VeLO"), draws(0), draws(1)
    expected = rule.update(grad, rule.start(theta, 0), theta, torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(rule.update(grad, rule.start(theta), theta), expected)
    known, _ = rule.update(grad, rule.start(theta, torch.tensor(5)), theta)
    assert not torch.equal(known["w"], expected[0]["w"])


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"momenta": ()}, {"momenta": (1.0,)}, {"squares": -0.1}, {"step": 0}])
def test_velo_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        VeLO(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"layers": 0}, {"scale": 0.0}, {"p": -1.0}])
def test_lstm_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be positive"):
        LSTMRule(**wrong)  # type: ignore[arg-type]


EMPTY: list[list[tuple[int, ...]]] = [[(0,), (3,)], [(0, 3), (2, 2)], [(3, 0), ()], [(2, 0, 3), (1,), (0,)], [(0, 0)]]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("shapes", EMPTY, ids=str)
def test_tensors_without_numbers_change_nothing(name: str, shapes: list[tuple[int, ...]]) -> None:
    """The others move as if there were no empty ones, which stay, with their state."""
    rule, generator = built(name), torch.Generator().manual_seed(1)
    theta = {str(i): torch.randn(s, generator=generator, dtype=torch.float64) for i, s in enumerate(shapes)}
    full = {n: value for n, value in theta.items() if value.numel()}
    state, other = rule.start(theta), rule.start(full) if full else {}
    for _ in range(STEPS):
        theta, state = rule.update({n: value + 1 for n, value in theta.items()}, state, theta, torch.tensor(0.5))
        if full:
            full, other = rule.update({n: value + 1 for n, value in full.items()}, other, full, torch.tensor(0.5))
    assert list(theta) == list(state) == [str(i) for i in range(len(shapes))]
    assert [tuple(value.shape) for value in theta.values()] == shapes
    assert all(torch.equal(theta[n], value) and bool(value.isfinite().all()) for n, value in full.items())


@pytest.mark.parametrize("rule", [qs.rules.SGD(0.1), qs.rules.AdamW(), qs.rules.ProximalSGD(0.1, 0.1)], ids=repr)
def test_fixed_rules_of_tensors_without_numbers(rule: qs.rules.Rule) -> None:
    theta = {"a": torch.zeros(0, 3), "b": torch.ones(2), "c": torch.ones(())}
    moved, _ = rule.update(theta, rule.start(theta), theta)
    assert [tuple(value.shape) for value in moved.values()] == [(0, 3), (2,), ()]
    assert all(bool((moved[n] < theta[n]).all()) for n in "bc")
