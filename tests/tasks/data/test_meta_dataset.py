from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstudy.errors import InputError
from quickstudy.tasks.data import meta_dataset as md


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(2, 1500), min_size=5, max_size=120),
    seed=st.integers(0, 2**32 - 1),
)
def test_constraints_of_the_paper(counts: list[int], seed: int) -> None:
    shape = md.sample_episode(counts, np.random.default_rng(seed))
    chosen = np.array(counts)[list(shape.classes)]
    shots = np.array(shape.shots)
    assert 5 <= shape.ways <= min(50, len(counts))
    assert len(set(shape.classes)) == shape.ways == len(shots)
    assert shape.queries == min(10, int(chosen.min()) // 2) >= 1
    assert (shots >= 1).all()
    assert (shots + shape.queries <= chosen).all()
    assert shots.sum() <= 500


def test_deterministic() -> None:
    counts = list(range(20, 80))
    first, again, other = (md.sample_episode(counts, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_worked_example() -> None:
    """Equations of appendix A.3 by hand, for 3 classes of 20, 40 and 400 images."""
    counts = np.array([20, 40, 400])
    assert md.query_shots(counts) == 10
    # ceil(0.25 * [10, 30, 100]) = 3 + 8 + 25
    assert md.support_size(counts, 10, 0.25) == 36
    assert md.support_size(counts, 10, 1e-12) == 3
    assert md.support_size(np.full(50, 1000), 10, 1.0) == 500
    # Equal weights: shares 20/460, 40/460, 400/460 of 33 shots, rounded down, plus one each.
    assert md.support_shots(counts, 10, 36, np.zeros(3)).tolist() == [2, 3, 29]
    tilted = md.support_shots(counts, 10, 36, np.log([2.0, 2.0, 0.5]))
    # Weights 40, 80 and 200 of 320.
    assert tilted.tolist() == [math.floor(share * 33) + 1 for share in (40 / 320, 80 / 320, 200 / 320)]
    assert md.support_shots(counts, 10, 500, np.zeros(3)).tolist() == [10, 30, 390]


def test_ways_are_uniform() -> None:
    ways = [len(md.sample_classes(12, np.random.default_rng(seed))) for seed in range(4000)]
    counts = np.bincount(ways)[5:]
    assert len(counts) == 8
    assert abs(counts - 500).max() < 100


def test_groups() -> None:
    groups = [[0, 1, 2], list(range(3, 9)), list(range(9, 100))]
    seen = set()
    for seed in range(60):
        classes = md.sample_classes(100, np.random.default_rng(seed), groups).tolist()
        (group,) = [i for i, each in enumerate(groups) if set(classes) <= set(each)]
        seen.add(group)
    assert seen == {1, 2}  # the first has fewer than 5 classes
    sizes = {len(md.sample_classes(100, np.random.default_rng(s), groups, whole_groups=True)) for s in range(30)}
    assert sizes == {6, 50}


def test_errors() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="at least 5 classes"):
        md.sample_episode([10] * 4, generator)
    with pytest.raises(InputError, match="has 1 example"):
        md.sample_episode([10, 10, 10, 10, 1], generator)
    with pytest.raises(InputError, match="no group"):
        md.sample_episode([10] * 8, generator, groups=[[0, 1], [2, 3]])
    with pytest.raises(InputError, match=r"0\.\.7"):
        md.sample_episode([10] * 8, generator, groups=[[0, 1, 2, 3, 8]])
    with pytest.raises(InputError, match="integers"):
        md.sample_episode([1.5] * 8, generator)  # type: ignore[list-item]
