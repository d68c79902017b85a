"""Checks of a user's arguments, with messages that say what to change."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.functional.numbers import whole
from quickstudy.operators import trees

NUMBERS = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32}
    | {torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128}
)
"""The dtypes that PyTorch computes with. There are no sums of the others, such as 8-bit floats."""


def check_readable(what: str, tensor: Tensor) -> None:
    """Refuse tensors whose numbers cannot be read row by row.

    Args:
        what: how the message names it.
        tensor: what the user passed.

    Raises:
        InputError: the tensor is sparse, nested, masked or quantised, has no values ('meta'), or is of a dtype that
            PyTorch does not compute with.
    """
    if tensor.is_nested:
        raise InputError(f"{what}: a nested tensor has rows of several lengths; pad them")
    if tensor.layout != torch.strided:
        raise InputError(f"{what}: a tensor of layout {tensor.layout} cannot be indexed by rows; use .to_dense()")
    if tensor.is_meta:
        raise InputError(f"{what}: a tensor on 'meta' has a shape but no values; give one with values")
    if tensor.is_quantized:
        raise InputError(f"{what}: a quantised tensor cannot be computed with; use .dequantize()")
    if tensor.dtype not in NUMBERS:
        raise InputError(f"{what}: numbers of {tensor.dtype} cannot be computed with; convert them with .float()")
    if isinstance(tensor, torch.masked.MaskedTensor):
        raise InputError(f"{what}: a masked tensor lacks numbers; fill them in or drop their rows")


def as_tensor(value: Any, what: str = "") -> Tensor:
    """Return a tensor: tensors as they are, arrays of float64 in the default dtype, so that nets accept them.

    Args:
        value: a tensor, an array, numbers, or a list of tensors of one shape.
        what: how messages name it.

    Raises:
        InputError: it holds no numbers, or none that can be read (`check_readable`), or a masked one.
    """
    what = what or "numbers"
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, Tensor) for each in value):
        for each in value:
            check_readable(what, each)
        if len({(each.shape, each.dtype, each.device) for each in value}) > 1:
            raise InputError(f"{what}: the tensors of the list differ in shape, dtype or device; give rows of one kind")
        value = torch.stack(list(value))
    if isinstance(value, Tensor):
        check_readable(what, value)
        return value
    try:
        array = np.asarray(as_array(value, what))
        # PyTorch takes no negative strides and no foreign order of bytes, and warns of what cannot be written to.
        plain = array.flags.writeable and array.dtype.isnative and all(stride >= 0 for stride in array.strides)
        tensor = torch.as_tensor(array if plain else np.array(array, array.dtype.newbyteorder("=")))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"expected numbers, got {type(value).__name__} for {what}: {first}") from error
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def as_array(value: Any, what: str = "X") -> Any:
    """Return tensors, and lists of them, as NumPy arrays; anything else as it is, for NumPy or scikit-learn to read.

    Args:
        value: what the user passed, rows or labels.
        what: how messages name it.

    Raises:
        InputError: numbers that cannot be read (`check_readable`), are masked, or are dates or lengths of time.
    """
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, Tensor) for each in value):
        value = as_tensor(list(value), what)
    if isinstance(value, Tensor):
        check_readable(what, value)
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.ma.MaskedArray):
        if bool(np.ma.getmaskarray(value).any()):
            raise InputError(f"{what}: a masked array lacks numbers; fill them in with .filled(...) or drop their rows")
        value = value.data
    if isinstance(value, (list, tuple)):
        try:
            found = np.asarray(value)
        except (ValueError, TypeError, RuntimeError):
            return value
        # As an array, so that it is seen to hold objects, such as integers beyond 64 bits.
        return found if found.dtype == object else value
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "mM":
        raise InputError(f"{what} holds dates or lengths of time ({value.dtype}); make numbers of them, such as days")
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:
        value = value.astype(np.float64)  # PyTorch has no wider ones
    # A matrix stays two-dimensional whatever is taken from it, which nobody expects.
    return np.asarray(value)


def as_inputs(inputs: Any) -> Any:
    """Return inputs with every leaf a tensor.

    Dicts, and tuples of arrays, are kept (`is_tree`). A list, or a tuple of numbers, is one array, in a dict too.
    """
    return over_arrays(as_tensor, inputs, "inputs")


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


def flat_rows(inputs: Any) -> Tensor:
    """Return rows (S, ...) as vectors (S, D), with D = 1 where a row is one number.

    Raises:
        InputError: inputs are several tensors, or a single number.
    """
    if not isinstance(inputs, Tensor) or not inputs.ndim:
        kind = "a single number" if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"
        raise InputError(f"rows (S, ...) of one tensor are needed here, not {kind}; take a net that reads such inputs")
    return inputs.flatten(1) if inputs.ndim > 1 else inputs.unsqueeze(1)


def row_shapes(inputs: Any) -> Any:
    """Return the shape of one row: a tuple for a tensor (M, ...), a pytree of tuples for a pytree of tensors."""
    return trees.map_leaves(lambda leaf: tuple(leaf.shape[1:]), inputs)


def as_labels(labels: Any) -> Tensor:
    """Return labels as an integer (int64) or floating tensor.

    Raises:
        InputError: labels are no real numbers, or none that can be read.
    """
    if not isinstance(labels, Tensor) and _kind(labels) in "OSTU":
        raise InputError(
            "labels must be numbers, 0..N-1; number yours, for example with numpy.unique(labels, return_inverse=True)"
        )
    tensor = as_tensor(labels, "labels")
    if tensor.is_complex():
        raise InputError(f"labels must be integers 0..N-1, or real targets, not {tensor.dtype}")
    return tensor if tensor.dtype.is_floating_point else tensor.long()


def _kind(labels: Any) -> str:
    """Return the letter of NumPy's kind of what labels hold; of a number when that cannot be told, for it is not it."""
    if isinstance(labels, (list, tuple)) and any(isinstance(each, Tensor) for each in labels):
        return "f"
    try:
        return np.asarray(labels).dtype.kind
    except (TypeError, ValueError, RuntimeError):
        return "f"


def check_rows(inputs: Any, labels: Tensor, mask: Tensor | None, ways: int | None) -> int | None:
    """Check one task's rows; return the number of ways (None for regression).

    Raises:
        InputError: the number of rows differs, inputs are not finite, tensors are on several devices, labels have
            another shape than one class a row, or they lie outside 0..ways-1.
    """
    ways = None if ways is None else whole("ways", ways, 1, MOST_WAYS)
    rows = len(labels) if labels.ndim else -1
    if rows < 0:
        raise InputError("labels is a single number; give one label per row, shape (S,)")
    leaves = trees.leaves(inputs)
    if not leaves:
        raise InputError("inputs hold no tensor; give a tensor, or a dict or tuple of tensors")
    for leaf in leaves:
        if leaf.ndim == 0 or len(leaf) != rows:
            shape = tuple(leaf.shape)
            raise InputError(f"inputs of shape {shape} and {rows} labels: the first dimensions must agree")
        if leaf.dtype.is_floating_point or leaf.is_complex():
            check_finite("inputs", leaf)
    if mask is not None and (mask.dtype != torch.bool or mask.shape != labels.shape[:1]):
        raise InputError(f"mask must be ({rows},) booleans, not {tuple(mask.shape)} of {mask.dtype}")
    places = {each.device for each in (*leaves, labels, *(() if mask is None else (mask,)))}
    if len(places) > 1:
        raise InputError(f"rows lie on several devices ({', '.join(sorted(map(str, places)))}); move them to one")
    if labels.dtype.is_floating_point:
        check_finite("labels", labels)
        if ways is not None:
            raise InputError(
                f"ways={ways} but labels are {labels.dtype}, targets of regression; give classes as integers, "
                "as labels.long() is"
            )
        return None
    _check_classes(labels, ways)
    if rows == 0:
        return ways
    low, high = int(labels.min()), int(labels.max())
    found = high + 1 if ways is None else ways
    if low < 0 or high >= found:
        raise InputError(
            f"labels lie in {low}..{high} but a task of {found} ways has labels 0..{found - 1}; "
            "relabel them, for example with numpy.unique(labels, return_inverse=True)"
        )
    if found > MOST_WAYS:
        raise InputError(
            f"label {high} says that there are {found} classes; number yours 0..N-1, for example with "
            "numpy.unique(labels, return_inverse=True)"
        )
    return found


MOST_WAYS = 1_000_000
"""More classes than any task has: a larger label is a name, such as a user's number, not a class 0..N-1."""


def _check_classes(labels: Tensor, ways: int | None) -> None:
    """Refuse integers (S, ...) that look like one class a row in another form.

    Several labels a row are for dense prediction, (S, height, width), or for rows of symbols, (S, L) with `ways`.
    """
    if labels.numel() == 0 and labels.ndim > 1 and 0 in labels.shape[1:]:
        raise InputError(f"labels {tuple(labels.shape)} have no number in a row; give one label per row, shape (S,)")
    if labels.ndim != 2:
        return
    shape = tuple(labels.shape)
    if shape[1] == 1:
        raise InputError(f"labels {shape} are a column; give one class per row, shape (S,): labels[:, 0]")
    if (
        len(labels)
        and bool(((labels == 0) | (labels == 1)).all() & (labels.sum(1) == 1).all())
        and (ways != 2 or shape[1] == 2)
    ):
        raise InputError(
            f"labels {shape} are one-hot; give the number of each row's class, shape (S,): labels.argmax(1)"
        )
    if ways is None:
        raise InputError(
            f"labels {shape} are several integers a row; give one class per row, shape (S,), or `ways` for rows of "
            "symbols"
        )


def takes(function: Callable[..., Any], count: int) -> str | None:
    """Return why a function cannot be called with so many positional arguments, or None if it can or nobody knows."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        return f"{getattr(function, '__name__', type(function).__name__)}{signature} does not take {count} ({error})"
    return None


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
