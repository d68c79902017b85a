"""Randomness as an argument: numbers that are a pure function of a key.

A key is an int64 tensor. The same key gives the same numbers on every device, whether tasks are batched or looped,
and whatever was drawn before; this is what makes task streams seekable, runs resumable and `batched == looped` exact
for stochastic methods too. Counter-based, after Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011),
with the mixing function of SplitMix64 (Steele et al. 2014).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_COUNTS = 2**62 - 1
_LEARNER = 0x4C52


def _shift(x: Tensor, bits: int) -> Tensor:
    # Logical right shift: int64's own is arithmetic and would drag the sign along.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * -4658895280553007687
    x = (x ^ _shift(x, 27)) * -7723592293110705685
    return x ^ _shift(x, 31)


def key(seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the key () of a seed."""
    return _mix(torch.tensor(seed, dtype=torch.int64, device=device) + _GOLDEN)


def fold_in(keys: Tensor, data: Tensor | int) -> Tensor:
    """Return keys derived from keys and data (broadcast): one for each task index, step or purpose."""
    return _mix(keys + _mix(torch.as_tensor(data, dtype=torch.int64, device=keys.device) * _GOLDEN + 1))


def learner_keys(seed: int, indices: Tensor) -> Tensor:
    """Return the keys (T,) from which learners draw their own numbers in tasks number `indices` (T,).

    They differ from the keys from which tasks of that seed are drawn: a learner's noise must not depend on its inputs.
    """
    return fold_in(fold_in(key(seed, indices.device), _LEARNER), indices)


def bits(keys: Tensor, *shape: int) -> Tensor:
    """Return (*keys.shape, *shape) random int64."""
    count = math.prod(shape)
    # The mask changes nothing, but without it torch.compile takes the product for an index, folds the constants of a
    # shape of two dimensions beyond 64 bits, and silently gives other numbers.
    counter = ((torch.arange(1, count + 1, device=keys.device) & _COUNTS) * _GOLDEN).reshape(shape)
    return _mix(keys.reshape(keys.shape + (1,) * len(shape)) + counter)


def uniform(keys: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return (*keys.shape, *shape) numbers uniform in [0, 1)."""
    # Take as many bits as the dtype's mantissa holds: more would round up to 1.
    width = 1 - round(math.log2(torch.finfo(dtype).eps))
    return _shift(bits(keys, *shape), 64 - width).to(dtype) * 2.0**-width


def normal(keys: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return (*keys.shape, *shape) standard normal numbers (Box-Muller)."""
    first, second = uniform(fold_in(keys, 1), *shape, dtype=dtype), uniform(fold_in(keys, 2), *shape, dtype=dtype)
    return torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * math.pi * second)


def below(keys: Tensor, limit: Tensor | int, *shape: int) -> Tensor:
    """Return (*keys.shape, *shape) integers uniform in 0..limit-1; `limit` broadcasts against the result."""
    # The bias of scaling 53 bits is below limit / 2^53: nothing for the counts of a data set.
    u = uniform(keys, *shape, dtype=torch.float64)
    return (u * limit).floor().long()


def permutation(keys: Tensor, n: int) -> Tensor:
    """Return (*keys.shape, n) random orders of 0..n-1."""
    return bits(keys, n).argsort(-1)


def choose(keys: Tensor, limit: Tensor | int, count: int) -> Tensor:
    """Return (*keys.shape, count) distinct integers of 0..limit-1 in random order; `limit` broadcasts against `keys`.

    Where limit is below count, the numbers that exist come first and -1 fills the rest. Floyd's algorithm, whose cost
    does not grow with `limit` (Bentley & Floyd 1987, "A Sample of Brilliance").
    """
    limit = torch.as_tensor(limit, device=keys.device).expand(keys.shape)
    draws = uniform(keys, count, dtype=torch.float64)
    # Like the draws, so that it is mapped over where they are.
    picked = torch.full_like(draws, -1, dtype=torch.int64)
    for i in range(count):
        top = limit - count + i
        candidate = (draws[..., i] * (top + 1)).floor().long()
        taken = (picked == candidate.unsqueeze(-1)).any(-1)
        picked[..., i] = torch.where(top < 0, -1, torch.where(taken, top, candidate))
    # Floyd's set is uniform but its order is not: shuffle, what exists first.
    order = _shift(bits(fold_in(keys, 1), count), 1)
    order = torch.where(picked < 0, torch.iinfo(torch.int64).max, order)
    return picked.gather(-1, order.argsort(-1))


class _Kept:
    """The states of torch's own generators before anybody seeded them, and how many are at it now."""

    lock = threading.Lock()
    states: dict[torch.device, Tensor] = {}  # noqa: RUF012
    users: dict[torch.device, int] = {}  # noqa: RUF012


@contextlib.contextmanager
def torch_state_kept(device: torch.device | str = "cpu") -> Iterator[None]:
    """Leave torch's own generators as they were: that of the CPU and, if the device is a GPU, that of the device.

    For code that seeds them for what a user's modules draw. In several threads at once, the last to end puts back what
    the first found.

    Args:
        device: where is drawn.
    """
    places = {torch.device("cpu"), torch.device(device)}
    kept = [place for place in places if place.type in ("cpu", "cuda")]
    with _Kept.lock:
        for place in kept:
            _Kept.users[place] = _Kept.users.get(place, 0) + 1
            if _Kept.users[place] == 1:
                cuda = place.type == "cuda"
                _Kept.states[place] = torch.cuda.get_rng_state(place) if cuda else torch.get_rng_state()
    try:
        yield
    finally:
        with _Kept.lock:
            for place in kept:
                _Kept.users[place] -= 1
                if _Kept.users[place] == 0:
                    state = _Kept.states.pop(place)
                    torch.cuda.set_rng_state(state, place) if place.type == "cuda" else torch.set_rng_state(state)
