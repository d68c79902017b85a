"""Read the pickles that some publishers offer without running what a hostile one holds."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from quickstudy.errors import DataError

# What an array is made of, under the names that old and new versions of NumPy and Python write. None of these calls
# anything that the pickle names.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("__builtin__", "list"),
    ("builtins", "list"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _Restricted(pickle.Unpickler):
    """An unpickler that knows arrays and plain Python containers only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"it asks for {module}.{name}, which an array has no need of; do not trust this file")
        # The package was renamed in NumPy 2, where the old name warns and will go.
        known = "numpy._core" if hasattr(np, "_core") else "numpy.core"
        return super().find_class(module.replace("numpy._core", known).replace("numpy.core", known), name)


def load_pickle(content: bytes, where: str) -> Any:
    """Return the dictionaries, lists, strings, numbers and arrays in a pickle.

    Args:
        content: of the file.
        where: what messages call it.

    Raises:
        DataError: the pickle is truncated or corrupt, or asks for anything but those.
    """
    try:
        # Python 2's pickles hold byte strings, which latin1 keeps as they are.
        return _Restricted(io.BytesIO(content), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{where} was refused: {error}") from error
    except Exception as error:  # a corrupt pickle can raise any exception
        raise DataError(f"{where} is truncated or corrupt ({type(error).__name__}: {error})") from error


def array_of(content: Any, key: str, where: str, dims: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of bytes under a key of what `load_pickle` gave.

    Raises:
        DataError: there is no such array.
    """
    value = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != dims:
        raise DataError(f"{where} holds no {dims}-dimensional array of bytes under '{key}'")
    return value
