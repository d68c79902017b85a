"""Is a function of one's own the same objective as before? Functions that have one name may do different things."""

from __future__ import annotations

import hashlib
import sys
import types
from typing import Any


def code_of(objective: Any) -> dict[str, str]:
    """Return what tells the code of an objective from that of others, and the version of Python that says so.

    The code and the plain values that it was made with count, but not where it stands, nor what else it calls.
    """
    found = hashlib.sha256(usedforsecurity=False)
    _take(found, getattr(objective, "__wrapped__", None) or type(objective).forward, MOST_NESTED)
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "code": found.hexdigest()[:16]}


MOST_NESTED = 20
"""Levels of functions within functions that are looked at; a function may hold itself."""


def _take(found: Any, value: Any, levels: int) -> None:
    if levels == 0:
        return
    levels -= 1
    function = getattr(value, "__func__", value)
    if isinstance(function, types.FunctionType):
        _take(found, function.__code__, levels)
        cells = [_content(cell) for cell in function.__closure__ or ()]
        for each in (*(function.__defaults__ or ()), *cells):
            _take(found, each, levels)
    elif isinstance(value, types.CodeType):
        found.update(value.co_code + repr(value.co_names).encode())
        for each in value.co_consts:
            _take(found, each, levels)
    elif isinstance(value, (bool, int, float, str, bytes, type(None))):
        found.update(repr(value).encode())
    elif isinstance(value, (tuple, list)):
        for each in value:
            _take(found, each, levels)
    else:
        kind = value if isinstance(value, type) else type(value)
        found.update(f"{kind.__module__}.{kind.__qualname__}".encode())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None
