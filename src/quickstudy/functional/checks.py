"""Checks of a user's arguments, with messages that say what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.operators import trees


def as_tensor(value: Any) -> Tensor:
    """Return a tensor: tensors as they are, arrays of float64 in the default dtype, so that nets accept them."""
    if isinstance(value, Tensor):
        return value
    try:
        tensor = torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise InputError(f"expected numbers, got {type(value).__name__}: {error}") from error
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def as_inputs(inputs: Any) -> Any:
    """Return inputs with every leaf a tensor: dicts and tuples of arrays are kept, lists of numbers are one array."""
    if isinstance(inputs, (dict, tuple)):
        return trees.map_leaves(as_tensor, inputs)
    return as_tensor(inputs)


def is_tree(value: Any) -> bool:
    """Return whether what a user passes is a pytree of arrays: a dict, or a tuple of arrays, tensors and such pytrees.

    A tuple of numbers or of lists is one array, and so is any list.
    """
    if isinstance(value, tuple) and value:
        return all(is_tree(each) or getattr(each, "ndim", 0) > 0 for each in value)
    # SciPy's sparse matrices of keys are dicts too.
    return isinstance(value, dict) and not hasattr(value, "shape")


def over_arrays(function: Callable[[Any, str], Any], value: Any, path: str) -> Any:
    """Return what a function makes of each array of what a user passes (`is_tree`), given the array and its path."""
    if not is_tree(value):
        return function(value, path)
    if isinstance(value, dict):
        return {key: over_arrays(function, each, f"{path}[{key!r}]") for key, each in value.items()}
    parts = [over_arrays(function, each, f"{path}[{i}]") for i, each in enumerate(value)]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def check_tree(inputs: Any, what: str = "inputs") -> int:
    """Check a pytree of rows; return how many it has.

    Args:
        inputs: a tensor (M, ...), or a pytree of tensors that share their first dimension.
        what: how messages name it; the path of a leaf is added.

    Raises:
        InputError: there is no leaf, a leaf is no tensor or has no rows, or numbers of rows differ.
    """
    leaves = trees.named_leaves(inputs)
    for path, leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise InputError(f"{what}{path} must be a tensor, not {type(leaf).__name__}")
        if leaf.ndim == 0:
            raise InputError(f"{what}{path} is a single number; give one row per example, shape (M, ...)")
    if not leaves:
        raise InputError(f"{what} hold no tensor; give a tensor, or a dict or tuple of tensors")
    first = leaves[0]
    for path, leaf in leaves[1:]:
        if len(leaf) != len(first[1]):
            raise InputError(
                f"{what}{path} has {len(leaf)} rows and {what}{first[0]} {len(first[1])}; every tensor of a row's "
                "inputs needs the same first dimension"
            )
    return len(first[1])


def row_shapes(inputs: Any) -> Any:
    """Return the shape of one row: a tuple for a tensor (M, ...), a pytree of tuples for a pytree of tensors."""
    return trees.map_leaves(lambda leaf: tuple(leaf.shape[1:]), inputs)


def as_labels(labels: Any) -> Tensor:
    """Return labels as an integer (int64) or floating tensor."""
    if not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind in "OSTU":
        raise InputError(
            "labels must be numbers, 0..N-1; number yours, for example with numpy.unique(labels, return_inverse=True)"
        )
    tensor = as_tensor(labels)
    return tensor if tensor.dtype.is_floating_point else tensor.long()


def check_rows(inputs: Any, labels: Tensor, mask: Tensor | None, ways: int | None) -> int | None:
    """Check one task's rows; return the number of ways (None for regression).

    Raises:
        InputError: the number of rows differs, inputs are not finite, or labels lie outside 0..ways-1.
    """
    rows = len(labels) if labels.ndim else -1
    if rows < 0:
        raise InputError("labels is a single number; give one label per row, shape (S,)")
    for leaf in trees.leaves(inputs):
        if leaf.ndim == 0 or len(leaf) != rows:
            shape = tuple(leaf.shape)
            raise InputError(f"inputs of shape {shape} and {rows} labels: the first dimensions must agree")
        if leaf.dtype.is_floating_point:
            check_finite("inputs", leaf)
    if mask is not None and (mask.dtype != torch.bool or mask.shape != labels.shape[:1]):
        raise InputError(f"mask must be ({rows},) booleans, not {tuple(mask.shape)} of {mask.dtype}")
    if labels.dtype.is_floating_point:
        check_finite("labels", labels)
        return None
    if rows == 0:
        return ways
    low, high = int(labels.min()), int(labels.max())
    found = high + 1 if ways is None else ways
    if low < 0 or high >= found:
        raise InputError(
            f"labels lie in {low}..{high} but a task of {found} ways has labels 0..{found - 1}; "
            "relabel them, for example with numpy.unique(labels, return_inverse=True)"
        )
    return found


def as_device(name: torch.device | str) -> torch.device:
    """Return the device of a name, where 'auto' is a CUDA GPU if there is one, else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"device={name!r} cannot be used here ({first}); try device='cpu'") from error
    return device


def check_finite(name: str, values: Tensor) -> None:
    """Raise InputError if values hold NaN or infinity, naming the first bad row."""
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row = int((~finite.reshape(len(values), -1)).any(1).nonzero()[0])
        raise InputError(f"{name} hold NaN or infinity, first in row {row}; clean or drop such rows")
