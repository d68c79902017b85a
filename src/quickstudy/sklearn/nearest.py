"""The row of the support that a query is most like, its distance, and the answer where a query is like none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.checks import check_tree
from quickstudy.operators import trees

Array = NDArray[Any]


class Gallery(NamedTuple):
    """The support's rows as a learner embeds them."""

    features: Tensor
    """(S, D)."""
    statistics: Any
    """The batch statistics or scales with which queries are embedded."""
    unit: Tensor
    """() median distance of a row to the nearest other one."""


def gallery(learner: Any, support: Examples) -> Gallery | None:
    """Return the support as a learner embeds it; None where the learner embeds no rows."""
    if not (hasattr(learner, "embed_support") and hasattr(learner, "embed")):
        return None
    features, statistics = learner.embed_support(support)
    features = features.flatten(1).double()
    distances = _distances(features, features).fill_diagonal_(torch.inf).amin(1)
    # Copies of a row are no measure of how far rows are apart.
    apart = distances[(distances > 0) & distances.isfinite()]
    return Gallery(features, statistics, apart.median() if len(apart) else features.new_ones(()))


def neighbours(learner: Any, found: Gallery, inputs: Any, batch_size: int, device: torch.device) -> tuple[Array, Array]:
    """Return the index of the nearest row of the support, and its distance in units, for each row of inputs (Q, ...).

    Raises:
        InputError: queries have features of another size than the support, as images of another size can.
    """
    found = trees.map_only(Tensor, lambda leaf: leaf.to(device), found)
    rows = check_tree(inputs, "X")
    size = batch_size if learner.independent_queries else rows
    indices, distances = [], []
    for start in range(0, rows, size):
        part = trees.map_leaves(lambda leaf: leaf.to(device), batching.select(inputs, slice(start, start + size)))
        near = _distances(learner.embed(part, found.statistics).flatten(1).double(), found.features).min(1)
        indices.append(near.indices.cpu())
        distances.append((near.values / found.unit).cpu())
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Not by products of rows, which leave no zero between equal ones.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def rejected(labels: Array, novel: Array, classifier: Any) -> Array:
    """Return labels (Q,), with the classifier's word for no class where a row is novel (Q,).

    Raises:
        InputError: that word is a label, or none was given and labels are neither strings nor numbers.
    """
    word, classes = classifier.reject, classifier.classes_
    texts = all(isinstance(each, str) for each in classes)
    if word is None and (classes.dtype.kind in "ifU" or texts):
        word = "none of these" if texts else -1
    if word is None or word in classes.tolist():
        raise InputError(f"reject={word!r} is a label or no fitting one; give another word for rows of no class")
    same = isinstance(word, str) if classes.dtype.kind == "U" else classes.dtype.kind in "if" and np.isreal(word)
    # Of a dtype that holds both: a longer string, or any object.
    answers = np.array([word]) if same and not isinstance(word, bool) else np.array([word], dtype=object)
    return np.where(novel, answers, labels)
