"""Classes, distances, adversarial examples, checks and recurrent cells, against plain formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.functional import adversarial, checks, classes, distances
from quickstudy.operators import recurrent

pytestmark = pytest.mark.usefixtures("float64")


def test_class_means_by_loops() -> None:
    features = torch.randn(7, 2, 3)
    labels = torch.tensor([0, 2, 0, 2, 2, 0, 3])
    mask = torch.tensor([1, 1, 1, 1, 0, 0, 1]).bool()
    support = Examples(features, labels, mask, 5)
    means = classes.class_means(features, support)
    for k in range(5):
        rows = [features[i] for i in range(7) if labels[i] == k and mask[i]]
        torch.testing.assert_close(means[k], torch.stack(rows).mean(0) if rows else torch.zeros(2, 3))
    assert classes.present(support).tolist() == [True, False, True, True, False]
    assert classes.one_hot(support, torch.float64).sum(1).tolist() == [1, 1, 1, 1, 0, 0, 1]


def test_absent_classes_have_probability_zero_and_finite_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    masked = classes.mask_absent(logits, torch.tensor([True, False, True]))
    assert masked.softmax(1)[:, 1].tolist() == [0, 0]
    masked.logsumexp(1).sum().backward()
    assert bool(torch.isfinite(logits.grad).all())
    assert logits.grad[:, 1].tolist() == [0, 0]
    dense = classes.mask_absent(torch.randn(2, 3, 4, 4), torch.tensor([True, False, True]))
    assert bool((dense[:, 1] == classes.ABSENT).all())


def test_regression_has_no_ways() -> None:
    with pytest.raises(InputError, match="integer labels"):
        classes.ways_of(Examples(torch.zeros(2, 1), torch.zeros(2)))


def test_distances() -> None:
    a, b = torch.randn(4, 3), torch.randn(5, 3)
    torch.testing.assert_close(distances.squared_euclidean(a, b), torch.cdist(a, b).square())
    expected = nn.functional.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=-1)
    torch.testing.assert_close(distances.cosine(a, b), expected)
    assert float(distances.squared_euclidean(1e4 + a, 1e4 + a).min()) >= 0
    assert bool(torch.isfinite(distances.cosine(torch.zeros(1, 3), b)).all())


def test_distances_of_rows_far_from_the_origin() -> None:
    """As those of features after ReLU are; in half precision, what is lost there would decide between classes."""
    a, b = 1 + torch.rand(20, 64).bfloat16(), 1 + torch.rand(5, 64).bfloat16()
    exact = (a.double().unsqueeze(1) - b.double()).square().sum(-1)
    assert float((distances.squared_euclidean(a, b).double() - exact).abs().max()) < 0.2


def test_distances_have_derivatives_at_zero() -> None:
    rows, others = torch.zeros(2, 3, requires_grad=True), torch.randn(4, 3)
    for distance in (distances.cosine, distances.squared_euclidean):
        slope = torch.autograd.grad(distance(rows, others).square().sum(), rows, create_graph=True)[0]
        assert float(slope.detach().abs().max()) < 1e7
        assert bool(torch.isfinite(torch.autograd.grad(slope.sum(), rows)[0]).all())
    inside = torch.randn(3, 4, requires_grad=True)
    assert torch.autograd.gradgradcheck(distances.squared_euclidean, (inside, torch.randn(2, 4, requires_grad=True)))


def bent(a: torch.Tensor, b: torch.Tensor, reach: float, cost: float) -> float:
    """The distance of map a from map b (C, H, W), place by place."""
    height, width = a.shape[1:]
    total = 0.0
    for i in range(height):
        for j in range(width):
            near = [
                float((a[:, i, j] - b[:, k, m]).square().sum()) + cost * ((i - k) ** 2 + (j - m) ** 2)
                for k in range(height)
                for m in range(width)
                if math.hypot(i - k, j - m) <= reach
            ]
            total += min(near)
    return total


@pytest.mark.parametrize("reach", [0, 1, 1.5, 2, 9])
def test_distortion_is_the_plain_loop(reach: float) -> None:
    a, b = 7 + torch.randn(3, 2, 4, 3), 7 + torch.randn(5, 2, 4, 3)
    found = distances.distorted(a, b, reach, 0.3)
    expected = torch.tensor([[bent(one, other, reach, 0.3) for other in b] for one in a])
    torch.testing.assert_close(found, expected)
    if not reach:
        torch.testing.assert_close(found, distances.squared_euclidean(a.flatten(1), b.flatten(1)))
    batched = torch.vmap(lambda x: distances.distorted(x, b, reach, 0.3))(a.unsqueeze(1))
    torch.testing.assert_close(batched.squeeze(1), expected)


def test_what_has_moved_costs_the_move() -> None:
    drawn = torch.randn(1, 3, 6, 6)
    drawn[..., 0] = drawn[..., -1] = 0
    moved = drawn.roll(1, -1)
    cost = torch.tensor(0.01, requires_grad=True)
    found = distances.distorted(moved, drawn, 1, cost)
    assert 0 < float(found.detach()) <= 36 * 0.01 + 1e-9
    assert float(distances.distorted(moved, drawn, 0, 0.01)) > 10
    assert torch.autograd.gradcheck(lambda x, c: distances.distorted(x, drawn, 1, c), (moved.requires_grad_(), cost))
    assert torch.autograd.gradgradcheck(lambda x: distances.distorted(x, drawn, 1, 0.01), (moved,))


def test_fgsm() -> None:
    x = torch.tensor([[1.0, -2.0], [0.5, 0.0]], requires_grad=True)
    moved = adversarial.fgsm(lambda inputs: (inputs**2).sum(), x, 0.1)
    torch.testing.assert_close(moved, torch.tensor([[1.1, -2.1], [0.6, 0.0]]))
    assert not moved.requires_grad


def test_pgd_finds_what_lies_within_the_ball() -> None:
    """Of -|x - target|^2 the nearest point of the ball: the target itself where it is inside, else clamped."""
    x, target = torch.zeros(3, 2), torch.tensor([[0.05, -0.3], [0.7, 0.0], [-0.02, 0.1]])
    mask = torch.tensor([True, True, False])

    def loss(inputs: list[torch.Tensor]) -> torch.Tensor:
        return -(inputs[0] - target).square().sum()

    moved = adversarial.pgd(loss, [x], 0.2, steps=100, size=0.004)[0]
    torch.testing.assert_close(moved, target.clamp(-0.2, 0.2), rtol=0, atol=0.004)
    torch.testing.assert_close(
        adversarial.pgd(loss, [x], 0.2, 1)[0], adversarial.fgsm(lambda y: loss([y]), x, 0.2), rtol=0, atol=1e-12
    )
    kept = adversarial.pgd(loss, [x], 0.2, 5, mask=mask, limits=(-0.1, 1.0))[0]
    assert kept[2].tolist() == [0, 0]
    assert float(kept.min()) == -0.1
    far = adversarial.pgd(loss, [x], 0.2, 1, size=1e-9, start=[torch.full((3, 2), 5.0)])[0]
    torch.testing.assert_close(far, torch.full((3, 2), 0.2), rtol=0, atol=1e-8)


@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_torchs(bias: bool) -> None:
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    for native, own in (
        (nn.GRUCell(3, 4, bias), recurrent.gru_cell),
        (nn.RNNCell(3, 4, bias), recurrent.rnn_tanh_cell),
        (nn.RNNCell(3, 4, bias, "relu"), recurrent.rnn_relu_cell),
    ):
        torch.testing.assert_close(own(x, h, *native.parameters()), native(x, h))
    lstm = nn.LSTMCell(3, 4, bias)
    for found, expected in zip(recurrent.lstm_cell(x, (h, c), *lstm.parameters()), lstm(x, (h, c)), strict=True):
        torch.testing.assert_close(found, expected)


def test_recurrent_refuses_packed_sequences() -> None:
    with pytest.raises(NotImplementedError, match="packed"):
        recurrent.lstm(torch.zeros(2, 1), torch.tensor([1, 1]), [])


def test_inputs_are_tensors() -> None:
    assert checks.as_inputs([[1.0, 2.0]]).dtype == torch.get_default_dtype()
    assert checks.as_inputs(np.zeros((2, 3), np.float32)).dtype == torch.float32
    tree = checks.as_inputs({"a": np.zeros(2), "b": (np.ones(2), torch.ones(2))})
    assert set(tree) == {"a", "b"}
    assert isinstance(tree["b"], tuple)
    with pytest.raises(InputError, match="expected numbers"):
        checks.as_tensor(["a", "b"])
    with pytest.raises(InputError, match="expected numbers"):
        checks.as_tensor(object())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-3, 6), min_size=1, max_size=8), st.one_of(st.none(), st.integers(1, 6)))
def test_labels_are_in_range_or_refused(labels: list[int], ways: int | None) -> None:
    inputs = np.zeros((len(labels), 2))
    valid = min(labels) >= 0 and (ways is None or max(labels) < ways)
    if valid:
        assert Examples(inputs, labels, ways=ways).ways == (max(labels) + 1 if ways is None else ways)
    else:
        with pytest.raises(InputError, match="relabel them"):
            Examples(inputs, labels, ways=ways)
