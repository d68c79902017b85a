"""Read the pickles that some publishers offer without running what a hostile one holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quickstudy.datasets.reading.unpickling import Machine
from quickstudy.errors import DataError


def load_pickle(content: bytes, where: str) -> Any:
    """Return the dictionaries, lists, strings, numbers and arrays in a pickle; arrays cannot be written to.

    Args:
        content: of the file.
        where: what messages call it.

    Raises:
        DataError: the pickle is truncated or corrupt, or asks for anything but those.
    """
    try:
        return Machine(content).run()
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
