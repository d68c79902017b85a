"""Randomness as an argument: pure, even, and the same batched or looped."""

import math

import pytest
import torch
from scipy import stats
from torch.func import vmap

from quickstudy.functional import random

KEYS = random.fold_in(random.key(3), torch.arange(20000))


def even(counts: torch.Tensor) -> None:
    """Assert that counts are those of a uniform distribution (chi-square)."""
    assert stats.chisquare(counts.double().numpy()).pvalue > 1e-3


def test_known_numbers() -> None:
    """Streams of published runs depend on these: they must never change."""
    assert random.key(0).item() == -2152535657050944081
    assert random.fold_in(random.key(1), 2).item() == KNOWN_FOLD
    assert random.bits(random.key(1), 2).tolist() == KNOWN_BITS
    assert random.choose(random.key(5), 10, 4).tolist() == KNOWN_CHOICE


KNOWN_FOLD = -7816215266374974716
KNOWN_BITS = [6791897765849424158, -1041056189838986770]
KNOWN_CHOICE = [9, 7, 6, 0]


def test_seeds_and_data_give_other_keys() -> None:
    keys = torch.stack([random.key(seed) for seed in range(-50, 50)])
    assert len(keys.unique()) == 100
    assert len(KEYS.unique()) == len(KEYS)
    assert len(random.fold_in(KEYS[:100].unsqueeze(1), torch.arange(100)).unique()) == 10000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform(dtype: torch.dtype) -> None:
    values = random.uniform(KEYS, 5, dtype=dtype)
    assert values.shape == (20000, 5)
    assert values.dtype == dtype
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    even(torch.histc(values.float(), 50, 0, 1))
    assert stats.kstest(values.flatten().double().numpy(), "uniform").pvalue > 1e-3
    # Neighbours are unrelated, along the counter and from key to key.
    assert abs(float(torch.corrcoef(values[:, :2].T.double())[0, 1])) < 0.03
    assert abs(float(torch.corrcoef(torch.stack([values[:-1, 0], values[1:, 0]]).double())[0, 1])) < 0.03


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_uniform_never_rounds_up_to_one(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "bits", lambda keys, *shape: torch.tensor(-1))
    assert random.uniform(random.key(0), dtype=dtype).item() < 1


def test_normal() -> None:
    values = random.normal(KEYS, 4, dtype=torch.float64).flatten()
    assert bool(torch.isfinite(values).all())
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
def test_below(limit: int) -> None:
    values = random.below(KEYS, limit)
    assert int(values.min()) == 0
    assert int(values.max()) == limit - 1
    if limit > 1:
        even(torch.bincount(values, minlength=limit))


def test_below_takes_a_limit_for_each_key() -> None:
    limits = torch.arange(1, 20001)
    values = random.below(KEYS, limits)
    assert bool((values < limits).all())
    assert bool((values >= 0).all())


def test_permutation() -> None:
    orders = random.permutation(KEYS, 4)
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(20000, 4))
    numbers = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.bincount(numbers)
    counts = counts[counts > 0]
    assert len(counts) == math.factorial(4)
    even(counts)


def test_choose_is_distinct_and_uniform_over_ordered_choices() -> None:
    picked = random.choose(KEYS, 5, 3)
    assert bool((picked >= 0).all())
    assert bool((picked < 5).all())
    assert bool((picked.sort(1).values.diff(dim=1) > 0).all())
    counts = torch.bincount((picked * torch.tensor([25, 5, 1])).sum(1))
    counts = counts[counts > 0]
    assert len(counts) == 60
    even(counts)


def test_choose_all_is_a_permutation() -> None:
    assert torch.equal(random.choose(KEYS[:50], 6, 6).sort(1).values, torch.arange(6).expand(50, 6))


def test_choose_more_than_there_are_fills_up() -> None:
    limits = torch.arange(5).repeat(200)
    picked = random.choose(KEYS[:1000], limits, 4)
    for limit, row in zip(limits.tolist(), picked.tolist(), strict=True):
        number = min(limit, 4)
        assert len(set(row[:number])) == number
        assert all(0 <= value < limit for value in row[:number])
        assert row[number:] == [-1] * (4 - number)


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: random.uniform(key, 3),
        lambda key: random.normal(key, 2, 2),
        lambda key: random.below(key, 9, 4),
        lambda key: random.permutation(key, 6),
        lambda key: random.choose(key, 9, 4),
        lambda key: random.fold_in(key, 5),
    ],
)
def test_batched_equals_looped(draw) -> None:  # type: ignore[no-untyped-def]
    keys = KEYS[:7]
    looped = torch.stack([draw(key) for key in keys])
    assert torch.equal(draw(keys), looped)
    assert torch.equal(vmap(draw)(keys), looped)
    # What was drawn before, from torch's generator or by this, makes no difference.
    torch.rand(3)
    assert torch.equal(draw(keys), looped)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_every_device() -> None:
    keys = KEYS[:100]
    assert torch.equal(random.uniform(keys.cuda(), 5).cpu(), random.uniform(keys, 5))
    assert torch.equal(random.choose(keys.cuda(), 9, 4).cpu(), random.choose(keys, 9, 4))
    assert torch.equal(random.permutation(keys.cuda(), 9).cpu(), random.permutation(keys, 9))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 5)])
def test_compiled_draws_are_the_same(shape: tuple[int, ...]) -> None:
    keys = random.fold_in(random.key(0), torch.arange(4))

    def draw(keys: torch.Tensor) -> torch.Tensor:
        return vmap(lambda key: random.bits(key, *shape))(keys)

    assert torch.equal(torch.compile(draw, fullgraph=True)(keys), draw(keys))


def test_learners_draw_from_other_keys_than_tasks_of_the_same_seed() -> None:
    indices = torch.arange(100)
    own, tasks = random.learner_keys(5, indices), random.fold_in(random.key(5), indices)
    for purpose in range(10):
        assert not torch.isin(random.fold_in(own, purpose), random.fold_in(tasks.unsqueeze(1), torch.arange(10))).any()
