"""The names and values that the pickle of an array needs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quickstudy.errors import DataError

_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")

# Under the names that old and new versions of NumPy and Python write, what a name stands for here.
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("collections", "OrderedDict"): "dict",
    ("collections", "defaultdict"): "defaultdict",
    ("_codecs", "encode"): "encode",
    **{(module, "list"): "list" for module in _BUILTINS},
    **{(module, "bytes"): "bytes" for module in _BUILTINS},
    **{(f"{core}.multiarray", "_reconstruct"): "array" for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): "frombuffer" for core in _CORES},
}
DTYPES = {kind + size for kind, sizes in (("u", "1248"), ("i", "1248"), ("f", "248"), ("b", "1")) for size in sizes}


@dataclass(frozen=True)
class Name:
    """A thing that a pickle names, by its word in `NAMES`."""

    word: str


@dataclass
class Unfinished:
    """A dtype or an array whose state is still to come, and where the pickle keeps it."""

    word: str
    dtype: str = ""
    places: list[int] = field(default_factory=list)


class Arguments(tuple[Any, ...]):
    """A tuple that holds a name or a dtype: it may be handed to a step, and lie nowhere else."""

    __slots__ = ()


def expanded(value: Any) -> int:
    """Return how many values there are where each container is counted as often as it is held.

    Raises:
        DataError: a container holds itself.
    """
    sizes: dict[int, int] = {}
    under_way: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting[-1]
        children = [child for child in _held(each) if isinstance(child, (list, dict, tuple))]
        if id(each) not in sizes and id(each) not in under_way:
            under_way.add(id(each))
            for child in children:
                if id(child) in under_way:
                    raise DataError("a container holds itself")
                if id(child) not in sizes:
                    waiting.append(child)
            continue
        waiting.pop()
        if id(each) not in sizes:
            size = 1 + len(_held(each)) + sum(sizes[id(child)] for child in children)
            sizes[id(each)] = min(size, 1 << 62)  # doubled a million times, it would be a number of a million bits
            under_way.discard(id(each))
    return sizes[id(value)]


def _held(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
