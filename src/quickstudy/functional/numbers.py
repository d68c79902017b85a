"""The one check of every number that a user passes: whole or real, finite, and in its range.

A number of NumPy and a tensor or an array of no dimension count as the number that they hold. True and False are no
numbers here, and neither are strings. This file imports no PyTorch, so that registering a class costs nothing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from quickstudy.errors import InputError

LARGEST = 2**63 - 1
"""The largest whole number that PyTorch's and NumPy's integers hold."""


def whole(name: str, value: Any, least: int | None = 1, most: int = LARGEST) -> int:
    """Return a whole number.

    Args:
        name: of the argument, for the message.
        value: what the user passed.
        least: the smallest that is allowed; None allows negative ones too.
        most: the largest that is allowed.

    Raises:
        InputError: it is no whole number, or outside the range.
    """
    number = plain(value)
    if not isinstance(number, Integral):
        raise InputError(f"{name} must be a whole number, not {shown(value)}")
    number = int(number)
    if least is not None and number < least:
        raise InputError(f"{name} must be at least {least}, not {number}")
    if not -LARGEST - 1 <= number <= most:
        raise InputError(f"{name} must be at most {most}, not {number}")
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return a finite real number; one of Python stays as it is.

    Args:
        name: of the argument, for the message.
        value: what the user passed.
        above: what it must be larger than.
        least: what it must not be smaller than.
        below: what it must be smaller than.
        most: what it must not be larger than.

    Raises:
        InputError: it is no finite number, or outside the range.
    """
    found = plain(value)
    if not isinstance(found, Real) or (isinstance(found, Integral) and abs(int(found)) > LARGEST):
        raise InputError(f"{name} must be a number, not {shown(value)}")
    # A whole number stays one, so that what is stored of it does.
    number: float = int(found) if isinstance(found, Integral) else float(found)
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number}")
    asked = _range(above, least, below, most)
    if asked and not (
        (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    ):
        raise InputError(f"{name} must be {asked}, not {number}")
    return number


def whole_range(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """Return the ends of a whole number or of a range (low, high) of them.

    Raises:
        InputError: it is neither, the range is empty, or it begins below the least.
    """
    ends = value if isinstance(value, (tuple, list)) else (value, value)
    if len(ends) == 2 and all(isinstance(plain(end), Integral) for end in ends):
        low, high = (int(plain(end)) for end in ends)
        if least <= low <= high <= LARGEST:
            return low, high
    said = "positive number" if least == 1 else f"whole number of at least {least}"
    raise InputError(f"{name} must be a {said} or a range (low, high) of them, whole, not {shown(value)}")


def plain(value: Any) -> Any:
    """Return Python's number for a number of another library; what is none, as it is; Booleans as None."""
    if type(value) in (int, float):
        return value
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        if getattr(value, "mask", False) is not False and bool(value.mask):
            return None  # NumPy's `masked` would say 0.
        try:
            value = value.item()
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return None  # It has no value, as a tensor on 'meta'.
    return None if isinstance(value, bool) else value


def shown(value: Any) -> str:
    """Return how a message names a value: itself if that is short, else its type."""
    try:
        text = repr(value)
    except Exception:
        text = ""
    return text if 0 < len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def _range(above: float | None, least: float | None, below: float | None, most: float | None) -> str:
    """Return what a range asks of a number, in words."""
    if above == 0 and below is None and most is None:
        return "positive"
    lower = "" if above is None and least is None else f"above {above}" if least is None else f"{least} or more"
    upper = "" if below is None and most is None else f"below {below}" if most is None else f"at most {most}"
    return " and ".join(filter(None, (lower, upper)))


def _each(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return a check of a tuple or list, each of whose items the given check passes."""

    def every(name: str, value: Any) -> Any:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{name} must be a tuple of numbers, not {shown(value)}")
        return tuple([check(f"each of {name}", item) for item in value])

    return every


_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "int": lambda name, value: whole(name, value, None),
    "float": real,
    "tuple[int, ...]": _each(lambda name, value: whole(name, value, None)),
    "tuple[float, ...]": _each(real),
}


def checks_of(signature: inspect.Signature) -> dict[str, Callable[[str, Any], Any]]:
    """Return a check for each argument whose annotation says that it is a number, by name.

    Each takes the argument's name and value, and returns the number. Ranges are the business of whoever asks for the
    number. None passes where the annotation has it.
    """
    found: dict[str, Callable[[str, Any], Any]] = {}
    for name, parameter in signature.parameters.items():
        said = parameter.annotation
        said = said if isinstance(said, str) else inspect.formatannotation(said)
        kind = said.removesuffix(" | None")
        if kind in _KINDS:
            check = _KINDS[kind]
            found[name] = check if kind == said else _or_none(check)
    return found


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)
