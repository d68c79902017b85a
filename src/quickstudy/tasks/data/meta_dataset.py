"""Numbers of classes and shots that vary from task to task, as in Meta-Dataset.

Triantafillou et al., 'Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few Examples', ICLR 2020,
section 3.2 and appendix A.3 ('Details of episode sampling'). With |Im(c)| the number of images of class c:

    ways            N ~ U{5 .. min(50, number of classes)}
    query shots     q = min(10, min_c floor(|Im(c)| / 2))
    support size    |S| = min(500, sum_c ceil(beta min(100, |Im(c)| - q))),  beta ~ U(0, 1]
    shares          R_c = exp(alpha_c) |Im(c)| / sum_c' exp(alpha_c') |Im(c')|,  alpha_c ~ U[log 0.5, log 2)
    support shots   k_c = min(floor(R_c (|S| - N)) + 1, |Im(c)| - q)

Queries are balanced, supports are not: they follow the classes' sizes loosely. Everything here is a pure function of
its arguments and of a NumPy generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import InputError

LEAST_WAYS = 5
MOST_WAYS = 50
MOST_QUERIES = 10
MOST_SUPPORT = 500
MOST_CONTRIBUTED = 100
"""How many images a class counts at most towards the support's size; it may still get more shots."""


@dataclass(frozen=True)
class EpisodeShape:
    """The rows and classes of one task.

    Args:
        classes: N distinct class indices.
        shots: of each of them, at least 1.
        queries: of every class.
    """

    classes: tuple[int, ...]
    shots: tuple[int, ...]
    queries: int

    @property
    def ways(self) -> int:
        """N, the number of classes."""
        return len(self.classes)


def sample_episode(
    counts: Sequence[int] | NDArray[np.integer],
    generator: np.random.Generator,
    groups: Sequence[Sequence[int]] | None = None,
    whole_groups: bool = False,
) -> EpisodeShape:
    """Draw the classes of a task and the numbers of their support and query rows.

    Args:
        counts: (C,) number of examples of each class, at least 2.
        generator: for example `numpy.random.default_rng([seed, index])` for the task `index`.
        groups: lists of class indices. The classes of a task then come from one group, drawn uniformly from those of at
            least 5: alphabets for Omniglot, the leaves below each inner node of WordNet for ImageNet.
        whole_groups: take all classes of the group, or 50 of them if there are more, as for ImageNet.

    Raises:
        InputError: fewer than 5 classes, a class with fewer than 2 examples, or a group that names no class.
    """
    sizes = np.asarray(counts)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu":
        raise InputError(f"counts must be (C,) integers, not {sizes.shape} of {sizes.dtype}")
    classes = sample_classes(len(sizes), generator, groups, whole_groups)
    chosen = sizes[classes].astype(np.int64)
    if chosen.min() < 2:
        short = int(classes[int(chosen.argmin())])
        raise InputError(f"class {short} has {int(chosen.min())} example; each needs one for support and one for query")
    queries = query_shots(chosen)
    size = support_size(chosen, queries, 1.0 - generator.random())
    alphas = generator.uniform(math.log(0.5), math.log(2.0), len(chosen))
    shots = support_shots(chosen, queries, size, alphas)
    return EpisodeShape(tuple(classes.tolist()), tuple(shots.tolist()), queries)


def sample_classes(
    count: int,
    generator: np.random.Generator,
    groups: Sequence[Sequence[int]] | None = None,
    whole_groups: bool = False,
) -> NDArray[np.int64]:
    """Return (N,) distinct classes out of `count`; see `sample_episode`."""
    pool = np.arange(count, dtype=np.int64)
    if groups is not None:
        eligible = [np.unique(np.asarray(group, dtype=np.int64)) for group in groups]
        if any(len(group) and not 0 <= group[0] <= group[-1] < count for group in eligible):
            raise InputError(f"groups must name classes in 0..{count - 1}")
        eligible = [group for group in eligible if len(group) >= LEAST_WAYS]
        if not eligible:
            raise InputError(f"no group has {LEAST_WAYS} classes; sample without groups")
        pool = eligible[int(generator.integers(len(eligible)))]
    if len(pool) < LEAST_WAYS:
        raise InputError(f"tasks need at least {LEAST_WAYS} classes, and there are {len(pool)}")
    most = min(MOST_WAYS, len(pool))
    ways = most if whole_groups and groups is not None else int(generator.integers(LEAST_WAYS, most + 1))
    chosen: NDArray[np.int64] = generator.choice(pool, ways, replace=False)
    return chosen


def query_shots(counts: NDArray[np.integer]) -> int:
    """Return q, at most 10 and at most half of the smallest class's examples; `counts` (N,)."""
    return min(MOST_QUERIES, int(counts.min()) // 2)


def support_size(counts: NDArray[np.integer], queries: int, beta: float) -> int:
    """Return |S| for `beta` in (0, 1]; at least the number of classes, since each term is rounded up."""
    contributed = np.minimum(MOST_CONTRIBUTED, counts - queries)
    return min(MOST_SUPPORT, int(np.ceil(beta * contributed).sum()))


def support_shots(
    counts: NDArray[np.integer], queries: int, size: int, alphas: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return k_c (N,) for the support size |S| and `alphas` (N,) in [log 0.5, log 2)."""
    weights = np.exp(alphas) * counts
    shares = weights / weights.sum()
    desired = np.floor(shares * (size - len(counts))).astype(np.int64) + 1
    shots: NDArray[np.int64] = np.minimum(desired, counts - queries)
    return shots
