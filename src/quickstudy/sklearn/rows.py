"""What a user brings as rows: arrays that scikit-learn checks, and its complaints as the library's own errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from quickstudy.errors import InputError, KindError, QuickstudyError
from quickstudy.functional.checks import row_shapes
from quickstudy.operators import trees


def ndim(X: Any) -> int:
    """Return the number of dimensions. Not NumPy's, which containers that are no arrays may refuse to tell."""
    return int(X.ndim) if hasattr(X, "ndim") else np.asarray(X).ndim


def standardised(inputs: Tensor, scaler: StandardScaler | None) -> Tensor:
    """Return inputs (S, ...) as standardised features (S, D), or as they are."""
    return inputs if scaler is None else torch.from_numpy(scaler.transform(inputs.flatten(1).numpy()))


def moved(inputs: Any, device: torch.device) -> Any:
    """Return a tensor, or a pytree of tensors, on a device."""
    return trees.map_leaves(lambda leaf: leaf.to(device), inputs)


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
