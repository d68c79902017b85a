"""Rows that a user brings, as arrays that scikit-learn checks, and its complaints as the library's own errors."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from torch import Tensor, nn

from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError, KindError, QuickstudyError
from quickstudy.functional import checks
from quickstudy.functional.checks import over_arrays, row_shapes
from quickstudy.operators import trees


def as_array(name: str, value: Any) -> Any:
    """Return tensors and lists of tensors as arrays, which scikit-learn checks; anything else as it is.

    Raises:
        InputError: the value is sparse or a matrix, or `functional.checks.as_array` refuses it.
    """
    if scipy.sparse.issparse(value):
        raise InputError(
            f"{name} is a sparse matrix, and rows are compared in all their features; make it dense with .toarray(), "
            "or reduce it first, for example with sklearn.decomposition.TruncatedSVD"
        )
    if isinstance(value, np.matrix):
        raise InputError(f"{name} is a numpy.matrix, which is always two-dimensional; give numpy.asarray of it")
    return checks.as_array(value, name)


def ndim(X: Any) -> int:
    """Return the number of dimensions. Not NumPy's, which containers that are no arrays may refuse to tell."""
    return int(X.ndim) if hasattr(X, "ndim") else np.asarray(X).ndim


def moved(inputs: Any, device: torch.device) -> Any:
    """Return a tensor, or a pytree of tensors, on a device."""
    return trees.map_leaves(lambda leaf: leaf.to(device), inputs)


def checked_trees(X: Any, y: Any, estimator: Any) -> tuple[Any, Any]:
    """Return a pytree of arrays and its labels (S,), checked as scikit-learn checks single arrays."""
    X, y = checked_tree(X, estimator), column_or_1d(y, warn=True)
    check_consistent_length(*trees.leaves(X), y)
    if y.dtype.kind in "fc":
        check_array(y, ensure_2d=False, input_name="y")  # NaN is no label
    return X, y


def checked_tree(X: Any, estimator: Any) -> Any:
    """Return a pytree of arrays of finite numbers, as scikit-learn checks single ones."""

    def checked(value: Any, path: str) -> NDArray[Any]:
        array: NDArray[Any] = check_array(
            as_array(path, value), dtype="numeric", allow_nd=True, ensure_2d=False, estimator=estimator, input_name=path
        )
        if not array.ndim:
            raise InputError(f"{path} is a single number; give one row per example")
        return array

    return over_arrays(checked, X, "X")


def tensors_of(learner: nn.Module) -> Iterator[Tensor]:
    """Return all parameters and buffers."""
    yield from learner.parameters()
    yield from learner.buffers()


def with_labels(X: Any, y: Any, estimator: Any) -> tuple[Any, Any]:
    """Return rows and labels, of a data set where X is one."""
    if isinstance(X, ClassData) and y is None:
        return X.inputs, np.array(X.classes)[X.labels.cpu().numpy()]
    if y is None:
        name = type(estimator).__name__
        raise InputError(f"{name} requires y to be passed, but the target y is None; give a label for each row of X")
    return X, y


def on_device(learner: Learner, device: torch.device) -> Learner:
    """Return the learner on a device. Where it is on another, it stays there, as threads may share it."""
    if all(tensor.device == device for tensor in tensors_of(learner)):
        return learner
    return copy.deepcopy(learner).to(device)


def of_another_size(inputs: Any, shape: Any, learner: Learner) -> bool:
    """Return whether inputs (Q, C, ...) differ from images of a shape in size alone: for the net to take or refuse."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or len(shape) != 3 or inputs.shape[1] != shape[0]:
        return False
    return any(isinstance(each, nn.Conv2d) for each in learner.modules())


def check_labels(y: NDArray[Any]) -> None:
    """Raise InputError if labels (S,) are not classes. Not scikit-learn's check, whose warnings need a filter, which
    threads share."""
    kind = y.dtype.kind
    if kind == "f" and bool((y != np.floor(y)).any()):
        raise InputError("Unknown label type: continuous numbers. Labels are strings, integers or Booleans")
    if kind not in "biufUOT":
        raise InputError(f"Unknown label type: {y.dtype}. Labels are strings, integers or Booleans")


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Turn scikit-learn's complaints, which already name the argument and the mend, into InputError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        # In one line, without the numbers that some of them print.
        lines = [line.strip() for line in str(error).splitlines() if not line.startswith(("[", " ", "array="))]
        kind = InputError if isinstance(error, ValueError) else KindError
        raise kind(" ".join(filter(None, lines))) from error


@contextlib.contextmanager
def shape_errors(inputs: Any) -> Iterator[None]:
    """Turn a net's complaint about the shape or dtype of its inputs into InputError."""
    try:
        yield
    except (QuickstudyError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        first = str(error).partition("\n")[0]
        kinds = trees.map_leaves(lambda leaf: leaf.dtype, inputs)
        if not re.search("shape|size|dimension|channel|input|index|type", first):
            raise
        raise InputError(
            f"the learner's net does not take X with rows of shape {row_shapes(inputs)} and {kinds} "
            f"({first}); give rows as in meta-training"
        ) from error
