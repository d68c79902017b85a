"""Features of learned update rules."""

import numpy as np
import pytest
import torch
from torch import Tensor

from quickstudy.functional import optimizer_features as features

SHAPES = [(), (3,), (4, 3), (2, 5, 3), (3, 2, 2, 4), (2, 1, 3, 2, 2)]
DECAYS = torch.tensor([0.5, 0.9], dtype=torch.float64)


def kept(grads: list[Tensor], squares: int = 1) -> tuple[Tensor, Tensor, features.Kept]:
    m, v = features.zeros(grads[0], 2), features.zeros(grads[0], squares)
    factors = features.factors_start(grads[0], 2)
    for grad in grads:
        m = features.averages(m, grad, DECAYS)
        v = features.averages(v, grad.square(), DECAYS[:squares])
        factors = features.factors_update(factors, grad, DECAYS)
    return m, v, factors


def everything(value: Tensor, *grads: Tensor) -> Tensor:
    m, v, factors = kept(list(grads))
    return features.normalised(features.parameter_features(grads[-1], value, m, v, factors))


def draws(shape: tuple[int, ...], count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(shape))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_averages_by_a_plain_loop() -> None:
    grads = draws((2, 3), 4)
    m, _, _ = kept(grads)
    for k, decay in enumerate((0.5, 0.9)):
        expected = sum((1 - decay) * decay ** (3 - i) * grad for i, grad in enumerate(grads))
        torch.testing.assert_close(m[..., k], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_by_numpy(shape: tuple[int, ...]) -> None:
    grads = draws(shape, 2)
    *_, factors = kept(grads)
    scale = features.factors_scale(factors, shape)
    for k, decay in enumerate((0.5, 0.9)):
        squares = [grad.numpy() ** 2 for grad in grads]
        second = decay * (1 - decay) * squares[0] + (1 - decay) * squares[1]
        if len(shape) > 1:
            row, column = np.argsort(shape, kind="stable")[-2:]
            rows, columns = second.mean(column, keepdims=True), second.mean(row, keepdims=True)
            second = rows * columns / rows.mean(row, keepdims=True)
        np.testing.assert_allclose(scale[..., k].numpy(), second**-0.5, rtol=1e-6)


def test_factors_are_exact_for_a_gradient_of_rank_one() -> None:
    grad = torch.outer(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 4.0]))
    factors = features.factors_update(features.factors_start(grad, 1), grad, torch.tensor([0.0]))
    torch.testing.assert_close(features.factors_scale(factors, (3, 2))[..., 0], 1 / grad)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_scale(shape: tuple[int, ...]) -> None:
    found = everything(*draws(shape, 3))
    assert found.shape == (*shape, 2 + 2 + 8 * 2)
    size = found.reshape(-1, 20).square().mean(0)
    assert ((size > 0.9) & (size < 1 + 1e-9)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_finite_at_zero_twice_differentiated(shape: tuple[int, ...]) -> None:
    value, grad = (torch.zeros(shape, requires_grad=True) for _ in range(2))
    (first,) = torch.autograd.grad(everything(value, grad).sum(), grad, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), grad)
    assert torch.isfinite(everything(value, grad)).all()
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_derivatives(shape: tuple[int, ...]) -> None:
    value, *grads = (draw.requires_grad_() for draw in draws(shape))
    assert torch.autograd.gradcheck(everything, (value, *grads))
    assert torch.autograd.gradgradcheck(everything, (value, *grads))


@pytest.mark.parametrize("shape", SHAPES)
def test_batched_is_looped(shape: tuple[int, ...]) -> None:
    batches = [torch.stack([draw, 2 * draw]) for draw in draws(shape)]
    found = torch.func.vmap(everything)(*batches)
    torch.testing.assert_close(found, torch.stack([everything(*(batch[i] for batch in batches)) for i in (0, 1)]))


def test_shifted_decays() -> None:
    decays = torch.tensor([0.9, 0.99])
    torch.testing.assert_close(features.shifted(decays, torch.zeros(2)), decays)
    torch.testing.assert_close(
        features.shifted(decays, torch.full((2,), -0.1 * np.log(10))), torch.tensor([0.99, 0.999])
    )
    assert features.shifted(decays, torch.full((2,), 10.0)).tolist() == [0, 0]


def test_times() -> None:
    found = features.time_features(torch.tensor(10.0))
    assert found.shape == (len(features.TIMES),)
    assert found[2] == 0
    assert bool((found[:2] > 0).all())
    assert bool((found[3:] < 0).all())


def test_shares_of_training() -> None:
    found = features.fraction_features(torch.tensor([0.0, 4.0, 4.0]), torch.tensor([0.0, 10.0, 0.0]))
    assert found.shape == (3, len(features.FRACTIONS))
    assert found[1, 3].abs() < 1e-6
    assert bool((found[1, :3] > 0).all())
    assert bool((found[1, 4:] < 0).all())
    assert not found[::2].any()


@pytest.mark.parametrize("steps", [0.0, 100.0])
@pytest.mark.parametrize(("change", "sign"), [(-1, -1), (0, -1), (1, 1)])
def test_how_training_goes(steps: float, change: float, sign: int) -> None:
    kept = features.losses_start(torch.zeros(()))
    for step in range(50):
        # Half falls and half does not: what counts is the last part.
        loss = torch.tensor(20.0 - min(step, 25) + 0.3 * change * max(step - 25, 0))
        kept, found = features.losses_update(kept, loss, torch.tensor(float(step)), torch.tensor(steps))
        assert bool(torch.isfinite(found).all())
        assert bool((found.abs() <= 1).all())
        assert step > 1 or not found.any()
    assert (found[0] > -0.9) == (sign > 0)


def test_averages_of_losses_by_a_plain_loop() -> None:
    losses = [3.0, 5.0, 4.0, 100.0]
    kept = features.losses_start(torch.zeros((), dtype=torch.float64))
    for i, loss in enumerate(losses):
        values = (torch.tensor(float(x), dtype=torch.float64) for x in (loss, i, 500))
        kept, _ = features.losses_update(kept, *values)
    decays = np.exp(-1 / np.logspace(1, np.log10(500), 10))

    def average(losses: list[float]) -> np.ndarray:
        weights = [decays ** (len(losses) - 1 - i) for i in range(len(losses))]
        return np.sum([w * x for w, x in zip(weights, losses, strict=True)], 0) / np.sum(weights, 0)

    # The last loss is cut to twice the largest average before it.
    losses[-1] = 2 * average(losses[:3]).max()
    np.testing.assert_allclose((kept["losses"] / (1 - torch.tensor(decays) ** 4)).numpy(), average(losses))
    least = np.min([average(losses[:n]) for n in (1, 2, 3, 4)], 0)
    np.testing.assert_allclose(kept["minima"].numpy(), least)
