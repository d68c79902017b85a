"""The one check of every number that a user passes: whole or real, finite, and in its range.

A number of NumPy and a tensor or an array of no dimension count as the number that they hold. True and False are no
numbers here, and neither are strings. This file imports no PyTorch, so that registering a class costs nothing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
        raise InputError(f"{name} must be {'0 or more' if least == 0 else f'at least {least}'}, not {number}")
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


Check = Callable[[str, Any], Any]
"""(name, value) -> the value, with numbers of Python in place of others; raises InputError."""


def checks_of(signature: inspect.Signature) -> dict[str, Check]:
    """Return a check for each argument whose annotation says that it is a number or a collection of numbers, by name.

    Sizes and counts (`int`) are never negative; a seed may be. Further ranges are the business of whoever asks for the
    number. What is annotated as anything else passes.
    """
    found: dict[str, Check] = {}
    for name, parameter in signature.parameters.items():
        said = parameter.annotation
        check = _check_of(said if isinstance(said, str) else inspect.formatannotation(said), name == "seed")
        if check is not None:
            found[name] = check
    return found


def _check_of(said: str, signed: bool = False) -> Check | None:
    """Return the check of an annotation, or None where it is not of numbers alone."""
    parts = _split(said, "|")
    if len(parts) > 1:
        checks = {part: _check_of(part, signed) for part in parts if part != "None"}
        known = [check for check in checks.values() if check is not None]
        if len(known) < len(checks):
            return None
        return _either(known, said, "None" in parts)
    if said in ("int", "float"):
        return (lambda name, value: whole(name, value, None if signed else 0)) if said == "int" else real
    outer, _, rest = said.partition("[")
    inner = _split(rest.removesuffix("]"), ",")
    if outer in ("Sequence", "tuple", "list") and (outer != "tuple" or inner[-1] == "..."):
        each = _check_of(inner[0])
        return None if each is None else _every(each)
    if outer == "tuple":
        each_of = [_check_of(part) for part in inner]
        return None if None in each_of else _in_turn([check for check in each_of if check is not None])
    if outer in ("Mapping", "dict") and inner[0] == "str":
        each = _check_of(inner[1])
        return None if each is None else _by_name(each)
    return None


def _split(text: str, at: str) -> list[str]:
    """Return the parts of an annotation between separators that stand outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == at and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _items(name: str, value: Any) -> list[Any]:
    if (
        isinstance(value, (str, bytes, dict))
        or not isinstance(value, (Sequence, Iterable))
        or getattr(value, "ndim", 1) == 0
    ):
        raise InputError(f"{name} must be a tuple of numbers, not {shown(value)}")
    return list(value)


def _every(check: Check) -> Check:
    return lambda name, value: tuple([check(f"each of {name}", item) for item in _items(name, value)])


def _in_turn(checks: list[Check]) -> Check:
    def run(name: str, value: Any) -> Any:
        items = _items(name, value)
        if len(items) != len(checks):
            raise InputError(f"{name} must be {len(checks)} numbers, not {shown(value)}")
        return tuple([check(f"each of {name}", item) for check, item in zip(checks, items, strict=True)])

    return run


def _by_name(check: Check) -> Check:
    def run(name: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a dict of numbers by name, not {shown(value)}")
        return {key: check(f"{name}[{key!r}]", item) for key, item in value.items()}

    return run


def _either(checks: list[Check], said: str, optional: bool) -> Check:
    def run(name: str, value: Any) -> Any:
        if value is None and optional:
            return None
        if len(checks) == 1:
            return checks[0](name, value)
        for check in checks:
            with suppress(InputError):
                return check(name, value)
        raise InputError(f"{name} must be {said.replace(' | ', ' or ')}, not {shown(value)}")

    return run
