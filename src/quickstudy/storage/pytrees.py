"""Pytrees as nested lists of tensors and JSON, so that the state of a fitted learner can be kept in a checkpoint.

A file names the types of named tuples and of the library's own dataclasses. Nothing is imported or called to find
them: a name counts only if its module is loaded already and it is such a type. So a hostile file can ask for nothing.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from torch import Tensor

from quickstudy.errors import CheckpointError, InputError
from quickstudy.operators import trees


def encode(tree: Any) -> list[Any]:
    """Return a pytree as nested lists whose leaves are tensors and JSON.

    Raises:
        InputError: the pytree holds something else, or a type that was defined inside a function.
    """
    if isinstance(tree, Tensor):
        return ["tensor", *_laid_out(tree)]
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return ["value", tree]
    if isinstance(tree, dict):
        if not all(isinstance(key, (str, int)) for key in tree):
            raise InputError("a state with keys other than strings and integers cannot be saved")
        return ["dict", [[key, encode(each)] for key, each in tree.items()]]
    if _is_named(type(tree)):
        return ["named", _name(type(tree)), [encode(each) for each in tree]]
    if type(tree) in (tuple, list):
        return [type(tree).__name__, [encode(each) for each in tree]]
    if _is_frozen(type(tree)):
        parts = [[each.name, encode(getattr(tree, each.name))] for each in dataclasses.fields(tree)]
        return ["frozen", _name(type(tree)), parts]
    raise InputError(
        f"a state that holds a {type(tree).__name__} cannot be saved; states are tensors in tuples, named tuples and "
        "dicts"
    )


def decode(coded: Any) -> Any:
    """Undo `encode`.

    Raises:
        CheckpointError: the lists are not what `encode` returns, or name a type that is not there.
    """
    try:
        kind, *rest = coded
        if kind == "tensor":
            return _restored(*rest)
        if kind == "value" and (rest[0] is None or isinstance(rest[0], (bool, int, float, str))):
            return rest[0]
        if kind == "dict":
            return {key: decode(each) for key, each in rest[0]}
        if kind in ("tuple", "list"):
            return {"tuple": tuple, "list": list}[kind](decode(each) for each in rest[0])
        if kind == "named":
            return _named(_found(rest[0]), [decode(each) for each in rest[1]])
        if kind == "frozen":
            return _frozen(_found(rest[0]), {name: decode(each) for name, each in rest[1]})
    except CheckpointError:
        raise
    except (TypeError, ValueError, IndexError, KeyError, RuntimeError, RecursionError) as error:
        raise CheckpointError(f"the file holds no state of a learner: {error}") from error
    raise CheckpointError("the file holds no state of a learner: unknown parts")


def _laid_out(tensor: Tensor) -> tuple[Tensor, list[int], list[int]]:
    """Return a contiguous tensor, the order of its dimensions in memory, and sizes of dimensions that only repeat.

    Sums of numbers that lie otherwise in memory may differ in the last bit.
    """
    tensor = tensor.detach()
    found = zip(tensor.shape, tensor.stride(), strict=True)
    repeats = [size if size > 1 and stride == 0 else 1 for size, stride in found]
    for place, times in enumerate(repeats):
        tensor = tensor.narrow(place, 0, 1) if times > 1 else tensor
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda place: (-strides[place], place))
    return tensor.permute(order).contiguous(), order, repeats


def _restored(tensor: Any, order: Any, repeats: Any) -> Tensor:
    if not isinstance(tensor, Tensor) or sorted(order) != list(range(tensor.ndim)) or len(repeats) != tensor.ndim:
        raise CheckpointError("the file holds no state of a learner: a tensor is damaged")
    places = [order.index(place) for place in range(tensor.ndim)]
    # A copy: memory that a file was read into need not be aligned as torch's own.
    copied = tensor.clone().permute(places)
    return copied.expand([times if times > 1 else -1 for times in repeats])


def _is_named(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _is_frozen(cls: type) -> bool:
    """Return whether a type is a dataclass that `core.register_pytree` lets transforms map over."""
    return dataclasses.is_dataclass(cls) and trees.holds_parts(cls)


def _name(cls: type) -> str:
    if "<locals>" in cls.__qualname__ or vars(sys.modules[cls.__module__]).get(cls.__qualname__) is not cls:
        raise InputError(f"a state of type {cls.__qualname__} cannot be saved; define that type at the top of a module")
    return f"{cls.__module__}:{cls.__qualname__}"


def _found(name: str) -> type:
    where, _, label = name.partition(":")
    found = vars(sys.modules[where]).get(label) if where in sys.modules else None
    if not isinstance(found, type) or not (_is_named(found) or _is_frozen(found)):
        raise CheckpointError(
            f"the file holds a state of type '{label}' of '{where}', which is not there; import that module first, or "
            "use the library version that wrote the file"
        )
    return found


def _named(cls: type, parts: list[Any]) -> Any:
    if not _is_named(cls) or len(parts) != len(cls._fields):  # type: ignore[attr-defined]
        raise CheckpointError(f"the file holds a state of another '{cls.__name__}' than this library's")
    return tuple.__new__(cls, parts)


def _frozen(cls: type, parts: dict[str, Any]) -> Any:
    if not _is_frozen(cls) or set(parts) != {each.name for each in dataclasses.fields(cls)}:
        raise CheckpointError(f"the file holds a state of another '{cls.__name__}' than this library's")
    # No checks, as where transforms rebuild it.
    value: Any = object.__new__(cls)
    for name, part in parts.items():
        object.__setattr__(value, name, part)
    return value
