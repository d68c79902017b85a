"""The equations of memories against a plain NumPy reading of the papers, one row and one head at a time."""

import numpy as np
import pytest
import torch

from quickstudy.functional import addressing

B, H, M, W = 2, 3, 5, 4


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.softmax(2 * rows(*shape, seed=seed), -1)


def test_content_weights():
    memory, keys, strengths = rows(B, M, W), rows(B, H, W, seed=1), rows(B, H, seed=2).exp()
    found = addressing.content_weights(memory, keys, strengths).numpy()
    for b in range(B):
        for h in range(H):
            k, m = keys[b, h].numpy(), memory[b].numpy()
            cosines = m @ k / (np.linalg.norm(m, axis=1) * np.linalg.norm(k))
            scores = np.exp(float(strengths[b, h]) * cosines)
            np.testing.assert_allclose(found[b, h], scores / scores.sum(), rtol=1e-4)


def test_empty_memory_is_read_evenly_with_finite_derivatives():
    memory = torch.zeros(B, M, W, dtype=torch.float64, requires_grad=True)
    found = addressing.content_weights(memory, rows(B, H, W), torch.ones(B, H, dtype=torch.float64))
    torch.testing.assert_close(found, torch.full_like(found, 1 / M))
    (gradient,) = torch.autograd.grad(found.square().sum(), memory, create_graph=True)
    assert torch.isfinite(torch.autograd.grad(gradient.sum(), memory)[0]).all()


def test_shift_is_a_circular_convolution():
    before, moves = weights(B, H, M), weights(B, H, 3, seed=1)
    found = addressing.shifted(before, moves).numpy()
    for b in range(B):
        for h in range(H):
            w, s = before[b, h].numpy(), dict(zip((-1, 0, 1), moves[b, h].numpy(), strict=True))
            expected = [sum(w[(i - j) % M] * s[j] for j in (-1, 0, 1)) for i in range(M)]
            np.testing.assert_allclose(found[b, h], expected, rtol=1e-12)


def test_sharpening_and_interpolation():
    first, second = weights(B, H, M), weights(B, H, M, seed=1)
    gammas, gates = 1 + rows(B, H, seed=2).exp(), torch.sigmoid(rows(B, H, seed=3))
    powers = first.numpy() ** gammas.numpy()[..., None]
    found = addressing.sharpened(first, gammas).numpy()
    np.testing.assert_allclose(found, powers / powers.sum(-1, keepdims=True), rtol=1e-8)
    g = gates.numpy()[..., None]
    mixed = addressing.interpolated(first, second, gates).numpy()
    np.testing.assert_allclose(mixed, g * first.numpy() + (1 - g) * second.numpy())


def test_sharpening_a_weight_of_zero_has_finite_derivatives():
    before = torch.tensor([[[1.0, 0.0, 0.0]]], requires_grad=True)
    gammas = torch.tensor([[2.0]], requires_grad=True)
    found = torch.autograd.grad(addressing.sharpened(before, gammas)[0, 0, 0], (before, gammas))
    assert all(torch.isfinite(each).all() for each in found)


def test_least_used_slots():
    usage = rows(B, M)
    found = addressing.least_used(usage, 2)
    for b in range(B):
        # Equation 6: those whose usage is at most the n-th smallest.
        n_th = np.sort(usage[b].numpy())[1]
        np.testing.assert_array_equal(found[b].sum(0).numpy(), usage[b].numpy() <= n_th)
        assert int(found[b, 0].argmax()) == int(usage[b].argmin())
    ties = addressing.least_used(torch.zeros(1, M), 2)
    assert ties[0].argmax(1).tolist() == [0, 1]


def test_usage_and_allocation():
    usage, write = torch.sigmoid(rows(B, M)), weights(B, M, seed=1)
    read, free = weights(B, H, M, seed=2), torch.sigmoid(rows(B, H, seed=3))
    after = addressing.used(usage, write, read, free)
    found = addressing.allocation(after)
    for b in range(B):
        u, w = usage[b].numpy(), write[b].numpy()
        psi = np.ones(M)
        for h in range(H):
            psi *= 1 - float(free[b, h]) * read[b, h].numpy()
        expected = (u + w - u * w) * psi
        np.testing.assert_allclose(after[b].numpy(), expected, rtol=1e-12)
        phi, a = np.argsort(expected), np.zeros(M)
        for j in range(M):
            a[phi[j]] = (1 - expected[phi[j]]) * np.prod(expected[phi[:j]])
        np.testing.assert_allclose(found[b].numpy(), a, atol=1e-5)


@pytest.mark.parametrize("usage", [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.5]])
def test_allocation_at_the_ends(usage):
    usage = torch.tensor([usage], dtype=torch.float64, requires_grad=True)
    found = addressing.allocation(usage)
    assert (found >= 0).all()
    assert float(found.detach().sum()) <= 1 + 1e-9
    if float(usage.detach().min()) == 0:
        # A slot that is wholly free takes all.
        assert float(found.detach()[0, int(usage.argmin())]) == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(torch.autograd.grad(found.square().sum(), usage)[0]).all()


def test_temporal_links():
    links, precedence = torch.zeros(B, M, M, dtype=torch.float64), torch.zeros(B, M, dtype=torch.float64)
    expected, last = np.zeros((B, M, M)), np.zeros((B, M))
    for step in range(4):
        write = 0.9 * weights(B, M, seed=step)
        links, precedence = addressing.linked(links, precedence, write)
        w = write.numpy()
        for b in range(B):
            new = np.zeros((M, M))
            for i in range(M):
                for j in range(M):
                    if i != j:
                        new[i, j] = (1 - w[b, i] - w[b, j]) * expected[b, i, j] + w[b, i] * last[b, j]
            expected[b] = new
            last[b] = (1 - w[b].sum()) * last[b] + w[b]
        np.testing.assert_allclose(links.numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(precedence.numpy(), last, atol=1e-12)
        # Rows and columns of the links are weights, too.
        assert (expected >= 0).all()
        assert expected.sum(1).max() <= 1
        assert expected.sum(2).max() <= 1


def test_links_follow_the_order_of_writing():
    links, precedence = torch.zeros(1, M, M), torch.zeros(1, M)
    for slot in (3, 0, 4):
        links, precedence = addressing.linked(links, precedence, torch.eye(M)[slot].unsqueeze(0))
    forward = torch.eye(M)[3] @ links[0].mT
    assert int(forward.argmax()) == 0
    backward = torch.eye(M)[4] @ links[0]
    assert int(backward.argmax()) == 0
    assert int(precedence.argmax()) == 4
