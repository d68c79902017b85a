"""Does a value that was read from a file have the type that an annotation names?"""

from __future__ import annotations

import functools
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def misfits(item: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Return which argument of a class or function has another type than its annotation says; '' if none has.

    Arguments without annotation, and annotations that nobody can look up, allow anything.
    """
    hints = _hints(item)
    for name, value in arguments.items():
        if name in hints and not fits(value, hints[name]):
            return f"'{name}' is {value!r:.80}, which is no {_said(hints[name])}"
    return ""


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has the type that an annotation names. No boolean is a number."""
    if isinstance(value, bool) and not _allows_bool(hint):
        return False
    # JSON has no tuples, so that what is built of it is the one where the other may be meant.
    return _checked(value, hint) or (isinstance(value, tuple) and _checked(list(value), hint))


def _checked(value: Any, hint: Any) -> bool:
    import typeguard  # needed only where a file describes something

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", typeguard.TypeHintWarning)
            typeguard.check_type(
                value,
                hint,
                forward_ref_policy=typeguard.ForwardRefPolicy.IGNORE,
                collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
            )
    except typeguard.TypeCheckError:
        return False
    return True


def _allows_bool(hint: Any) -> bool:
    if hint in (bool, Any, object) or isinstance(hint, (str, typing.TypeVar)):
        return True
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return any(isinstance(part, bool) for part in parts)
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated)
    return is_union and any(map(_allows_bool, parts))


def _said(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


@functools.cache
def _hints(item: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments that a class or function takes by name."""
    owners: list[Any] = [item]
    if isinstance(item, type):
        # Keywords that a class passes on to its bases are annotated there.
        owners = [cls.__dict__["__init__"] for cls in reversed(item.__mro__[:-1]) if "__init__" in cls.__dict__]
        # Those of a dataclass are looked up where each of its bases is defined, which its `__init__` does not know.
        owners = [*owners, item] if "__dataclass_fields__" in item.__dict__ else owners
    found: dict[str, Any] = {}
    for owner in owners:
        try:
            found |= typing.get_type_hints(owner)
        except (NameError, TypeError, AttributeError):
            continue
    return {name: hint for name, hint in found.items() if name not in ("return", "self")}
