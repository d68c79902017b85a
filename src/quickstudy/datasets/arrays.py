"""Data that are in memory already: arrays and PyTorch data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.functional.checks import as_array, check_readable, check_tree, over_arrays


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
        InputError: X is ragged, not numbers, or holds NaN or infinity, or X and y differ in length.

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


def dataset(data: torch.utils.data.Dataset[Any], name: str | None = None) -> ClassData:
    """Return a map-style PyTorch data set, such as torchvision's, read into memory.

    Args:
        data: has a length, and gives (x, y) for 0..M-1: x a tensor, an array, a number or a PIL image, all of one
            shape; y a label as of `arrays`. If it has a list `classes`, as torchvision's have, integer labels get
            their names there.
        name: how results name the data; None means the data set's type.

    Raises:
        InputError: it is an iterable without length, or its items are not such pairs; the message names the item.
    """
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise InputError("the data set must have a length and items; read an iterable one into arrays first")
    rows: list[Tensor] = []
    labels: list[Any] = []
    for index in range(len(data)):
        item = data[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise InputError(
                f"item {index} of the data set is not a pair (x, y); wrap the data set in one that gives it"
            )
        value, label = item
        if isinstance(value, Image.Image):
            pixels = np.array(value if value.mode in ("L", "RGB") else value.convert("RGB"))
            value = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        row = numbers(value, f"x of item {index}")
        if rows and (row.shape != rows[0].shape or row.dtype != rows[0].dtype):
            raise InputError(
                f"x of item {index} is {tuple(row.shape)} of {row.dtype} and the first {tuple(rows[0].shape)} of "
                f"{rows[0].dtype}; give the data set a transform that makes them equal"
            )
        rows.append(row)
        labels.append(label.item() if isinstance(label, (Tensor, np.generic)) else label)
    if not rows:
        raise InputError("the data set is empty")
    known = getattr(data, "classes", None)
    used = known is not None and all(isinstance(label, int) for label in labels)
    result = arrays(torch.stack(rows), labels, name or type(data).__name__)
    if not used or known is None:
        return result
    # Only the classes that occur: a subset of a data set may lack some.
    named = tuple(str(known[int(label)]) for label in result.classes)
    return ClassData(result.inputs, result.labels, named, result.name)


def inputs_of(X: Any, what: str = "X") -> Any:
    """Return a tensor, or a pytree of tensors, that shares no memory with the caller's."""
    return over_arrays(numbers, X, what)


def numbers(value: Any, what: str) -> Tensor:
    """Return a tensor that shares no memory with the caller's."""
    if isinstance(value, Tensor):
        check_readable(what, value)
        if value.is_complex():
            raise InputError(f"{what} holds {value.dtype}, not numbers; give real and imaginary parts as two features")
        return value.detach().clone()
    if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
        value = [as_array(each, what) for each in value]
    try:
        array = np.asarray(as_array(value, what))
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{what} is ragged ({error}); rows must have one shape") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} holds {array.dtype}, not numbers; encode it first")
    if array.dtype.kind == "f" and array.dtype.itemsize >= 8:
        # NumPy's and Python's floats are double by default, which nets are not.
        return torch.tensor(array.astype(np.float64), dtype=torch.get_default_dtype())
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.tensor(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _labels(y: Any, classes: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels 0..C-1 (M,) and the C names."""
    y = as_array(y, "y")
    if isinstance(y, (list, tuple)):
        y = [each.item() if isinstance(each, (Tensor, np.generic)) and each.ndim == 0 else each for each in y]
        if len({isinstance(each, str) for each in y}) > 1:
            raise InputError("y mixes strings and numbers; use one kind of label")
    try:
        array = np.asarray(y)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"y is ragged ({error}); give one label per row") from error
    if array.ndim != 1:
        raise InputError(f"y must be (M,), one label per row, not {array.shape}")
    if array.dtype.kind == "O":
        kinds = {type(each) for each in array}
        if kinds <= {str, np.str_}:
            array = array.astype(str)
        elif kinds <= {int, bool, np.int64, np.int32}:
            try:
                array = array.astype(np.int64)
            except OverflowError as error:
                raise InputError("y holds integers beyond 64 bits; give them as strings, which name classes") from error
        else:
            raise InputError(f"y holds {', '.join(sorted(kind.__name__ for kind in kinds))}; use strings or integers")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            raise InputError("y holds NaN, infinity or fractions; labels must be strings or integers")
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuUT":
        raise InputError(f"y holds {array.dtype}; labels must be strings or integers")
    if classes is not None:
        if array.dtype.kind not in "biu" or (len(array) and not 0 <= array.min() <= array.max() < len(classes)):
            raise InputError(f"with classes given, labels must be integers in 0..{len(classes) - 1}")
        return torch.tensor(array.astype(np.int64)), tuple(classes)
    values, indices = np.unique(array, return_inverse=True)
    names = tuple(str(value) for value in cast("list[Any]", values.tolist()))
    return torch.tensor(indices.astype(np.int64)), names
