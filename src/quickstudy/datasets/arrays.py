"""Data that are in memory already, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional.checks import check_tree, over_arrays
from quickstudy.functional.names import composed


def arrays(
    X: Any,
    y: Any,
    name: str = "arrays",
    classes: Sequence[str] | None = None,
    attributes: Mapping[str, Sequence[str]] | None = None,
    source: Any = None,
    targets: Any = None,
) -> ClassData:
    """Return arrays, tensors or lists as data.

    Args:
        X: (M, ...) numbers, or a dict or tuple of them (a pytree) that share M. A tensor keeps its dtype; 64-bit
            floats of NumPy and Python become PyTorch's default. A tuple of arrays or tensors is several inputs of
            each example; a list is always one array.
        y: (M,) labels: strings, integers, Booleans, or floats without a fractional part. Classes are sorted, and named
            by their labels.
        name: how results name the data.
        classes: names of the labels 0..C-1 instead; labels must then be integers in that range.
        attributes: for each attribute its value for each class, in the order of the classes.
        source: (M,) integers telling what made each example.
        targets: (M, ...) dense targets, say masks.

    Raises:
        InputError: X is ragged, sparse, masked, not real numbers, or holds NaN or infinity, labels are of no such kind,
            or X and y differ in length.

    Examples:
        >>> arrays([[0.0, 1.0], [2.0, 3.0]], ["cat", "dog"]).classes
        ('cat', 'dog')
    """
    inputs = inputs_of(X)
    rows = check_tree(inputs, "X")
    labels, names = _labels(y, classes)
    if rows != len(labels):
        raise InputError(f"X has {rows} rows and y {len(labels)}; give one label per row")
    if not rows:
        raise InputError("X has no rows")
    return ClassData(
        inputs=inputs,
        labels=labels,
        classes=names,
        name=name,
        attributes={key: tuple(values) for key, values in (attributes or {}).items()},
        source=None if source is None else numbers(source, "source"),
        targets=None if targets is None else numbers(targets, "targets"),
    )


def inputs_of(X: Any, what: str = "X") -> Any:
    """Return a tensor, or a pytree of tensors, that shares no memory with the caller's."""
    return over_arrays(numbers, X, what)


def numbers(value: Any, what: str) -> Tensor:
    """Return a tensor that shares no memory with the caller's.

    Raises:
        InputError: the value is no plain array of real numbers; the message says what to do.
    """
    if isinstance(value, Tensor):
        return _plain(value, what).detach().clone()
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise InputError(f"{what} is sparse; make it dense with .toarray()")
    array = _array(value, what)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} holds {array.dtype}, not numbers; encode it first{_encoding(array)}")
    if array.dtype.kind == "f" and array.dtype.itemsize >= 8:
        # NumPy's and Python's floats are double by default, which nets are not.
        return torch.tensor(array.astype(np.float64), dtype=torch.get_default_dtype())
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.size and int(array.max()) >= 1 << 63:
            raise InputError(f"{what} holds whole numbers of 2**63 or more; convert it to floats")
        array = array.astype(np.int64)
    return torch.tensor(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _plain(value: Tensor, what: str) -> Tensor:
    """Return a tensor if it is a dense one of real numbers that lies in memory, else say how to make it one."""
    advice = None
    if value.is_nested:
        advice = "is nested; pad its rows to one shape"
    elif value.layout != torch.strided:
        advice = "is sparse; make it dense with .to_dense()"
    elif value.is_meta:
        advice = "is on the device 'meta', which holds no numbers; load it first"
    elif value.is_quantized:
        advice = "is quantised; make it floats with .dequantize()"
    elif value.is_complex():
        advice = "holds complex numbers, not real ones; use torch.view_as_real"
    elif value.dtype.is_floating_point and value.dtype.itemsize == 1:
        advice = f"holds {value.dtype}, which nets cannot compute with; convert it with .float()"
    if advice is not None:
        raise InputError(f"{what} {advice}")
    return value


def _array(value: Any, what: str) -> NDArray[Any]:
    """Return an array of what a user gives, tensors among it, or raise InputError."""
    if isinstance(value, Tensor):
        value = _plain(value, what).detach().cpu()
        # NumPy has no such numbers.
        found: NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return found
    if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
        value = [_array(each, what) if isinstance(each, Tensor) else each for each in value]
    # NumPy drops the mask of arrays in a list.
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, np.ma.MaskedArray) and np.ma.is_masked(each):
            raise InputError(f"{what} has masked values; fill them in with .filled(...), or drop such rows")
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"{what} is ragged ({first}); rows must have one shape") from error


def _encoding(array: NDArray[Any]) -> str:
    if array.dtype.kind in "UT" or (array.size and isinstance(array.flat[0], str)):
        return ", texts for example with scikit-learn's TfidfVectorizer"
    return ", as numbers of seconds or days" if array.dtype.kind in "mM" else ""


def _labels(y: Any, classes: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels 0..C-1 (M,) and the C names."""
    if isinstance(y, (list, tuple)):
        y = [each.item() if isinstance(each, (Tensor, np.generic)) and _is_number(each) else each for each in y]
        if len({isinstance(each, str) for each in y}) > 1:
            raise InputError("y mixes strings and numbers; use one kind of label")
        if any(type(each) is int and not -(1 << 63) <= each < 1 << 63 for each in y):
            # NumPy would make floats of them, which do not tell such numbers apart.
            y = np.array(y, dtype=object)
    array = _array(y, "y")
    if array.ndim != 1:
        column = array.ndim == 2 and array.shape[1] == 1
        advice = "; use y.ravel()" if column else "; of one-hot rows take y.argmax(1)" if array.ndim == 2 else ""
        raise InputError(f"y must be (M,), one label per row, not {array.shape}{advice}")
    array = _one_kind(array)
    if classes is not None:
        if array.dtype.kind not in "biu" or (len(array) and not 0 <= array.min() <= array.max() < len(classes)):
            raise InputError(f"with classes given, labels must be integers in 0..{len(classes) - 1}")
        return torch.tensor(array.astype(np.int64)), tuple(classes)
    values, indices = np.unique(array, return_inverse=True)
    names = tuple(str(value) for value in cast("list[Any]", values.tolist()))
    return torch.tensor(indices.astype(np.int64)), names


def _is_number(value: Tensor | np.generic[Any]) -> bool:
    return value.ndim == 0 and not (isinstance(value, Tensor) and value.is_meta)


def _one_kind(array: NDArray[Any]) -> NDArray[Any]:
    """Return labels as strings, as numbers of 64 bits or, where these are too few, as Python's whole numbers."""
    if array.dtype.kind == "O":
        kinds = {type(each) for each in array}
        if all(issubclass(kind, str) for kind in kinds):
            array = array.astype(str)
        elif all(issubclass(kind, (int, np.integer, np.bool_)) for kind in kinds):
            large = any(not -(1 << 63) <= int(each) < 1 << 63 for each in array)
            array = np.array([int(each) for each in array], dtype=object) if large else array.astype(np.int64)
        elif all(issubclass(kind, (int, float, np.number, np.bool_)) for kind in kinds):
            array = array.astype(np.float64)
        else:
            raise InputError(f"y holds {', '.join(sorted(kind.__name__ for kind in kinds))}; use strings or integers")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            raise InputError("y holds NaN, infinity or fractions; labels must be strings or integers")
        large = bool((np.abs(array) >= 2.0**63).any())
        array = np.array([int(each) for each in array], dtype=object) if large else array.astype(np.int64)
    if array.dtype.kind == "S":
        raise InputError("y holds bytes; make strings of them, with numpy.char.decode(y)")
    if array.dtype.kind not in "biuUTO":
        raise InputError(f"y holds {array.dtype}; labels must be strings or integers")
    if array.dtype.kind in "UT" and not all(each.isascii() for each in set(array.tolist())):
        array = np.array([composed(each) for each in array.tolist()])
    return array
