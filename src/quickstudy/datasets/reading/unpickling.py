"""A machine for the few steps of pickles that build arrays, numbers, strings and plain containers.

Python's own unpickler calls what a pickle names, with the arguments of the pickle. This one calls nothing: what it
meets are bytes that it reads, and each step that it knows is a method below. The steps are described in Python's
`pickletools`. A pickle that needs another is refused.

Each step costs at least a byte of the pickle and makes no more than a few dozen bytes, besides bytes of the pickle
themselves. So time and memory are bounded by the size of the file.
"""

from __future__ import annotations

import codecs
import math
import pickletools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from quickstudy.datasets.reading.unpickled import DTYPES, NAMES, Arguments, Name, Unfinished, expanded
from quickstudy.errors import DataError

_MOST_STEPS = 20_000_000
_MOST_NUMBERED = 10_000
_KNOWN = {ord(each.code) for each in pickletools.opcodes}


class Machine:
    """Runs one pickle.

    Args:
        content: the pickle.
    """

    def __init__(self, content: bytes) -> None:
        self._bytes, self._content, self._at = content, memoryview(content), 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._encoded = self._numbered = 0

    def run(self) -> Any:
        """Return what the pickle holds.

        Raises:
            DataError: a step or a name is not one of those that arrays need, or the pickle is too large.
        Exception: of any kind, where the pickle is truncated or corrupt.
        """
        for _ in range(_MOST_STEPS):
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._result()
            step = _STEPS.get(code)
            if step is None:
                raise (DataError if code in _KNOWN else ValueError)(f"it takes a step of code {code:#x}")
            step(self)
        raise DataError(f"it takes more than {_MOST_STEPS} steps")

    def _result(self) -> Any:
        result = self._plain(self._pop())
        if self._stack or self._marks:
            raise DataError("it leaves values behind")
        if expanded(result) > _MOST_STEPS + len(self._content):
            raise DataError("its containers hold one another too often")
        return result

    # What lies in the pickle and on the stack.

    def _take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self._content) - self._at:
            raise EOFError("it ends early")
        self._at += size
        return self._content[self._at - size : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self, most: int | None = None) -> bytes:
        start = self._at
        end = self._bytes.find(b"\n", start, None if most is None else start + most + 1)
        if end < 0:
            raise EOFError("a line does not end")
        self._at = end + 1
        return bytes(self._content[start:end])

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise DataError("a step lacks its values")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise DataError("a step lacks its mark")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    @staticmethod
    def _plain(value: Any) -> Any:
        if isinstance(value, (Name, Unfinished, Arguments, np.dtype)):
            raise DataError("it keeps a function, a type or an unfinished array as a value")
        return value

    # Steps: each reads what belongs to it and leaves its result on the stack.

    def _proto(self) -> None:
        if self._number("<B") > 5:
            raise DataError("it is of a protocol that is not known here")

    def _frame(self) -> None:
        if self._number("<Q") > len(self._content) - self._at:
            raise EOFError("it ends early")

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _put(self, place: int) -> None:
        value = self._top()
        if place < 0:
            raise DataError("it keeps a value at a negative place")
        self._memo[place] = value
        if isinstance(value, Unfinished):
            value.places.append(place)

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise DataError("it asks for a value that it has not kept")
        self._stack.append(self._memo[place])

    def _text_int(self) -> None:
        line = self._line(32)
        self._stack.append({b"00": False, b"01": True}.get(line, _int(line)))

    def _long(self, form: str) -> None:
        size = self._number(form)
        if not 0 <= size <= 9:
            raise DataError("it holds a number of more than 64 bits")
        self._stack.append(_small(int.from_bytes(self._take(size), "little", signed=True)))

    def _old_string(self) -> None:
        line = self._line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise DataError("a string lacks its quotes")
        # Python 2's byte strings, which latin1 keeps as they are.
        self._stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin1"))

    def _text(self, form: str) -> None:
        self._stack.append(str(self._take(self._number(form)), "utf-8", "surrogatepass"))

    def _name(self, module: str, name: str) -> None:
        word = NAMES.get((module, name))
        if word is None:
            asked = f"{module}.{name}"[:100]
            raise DataError(f"it asks for {asked}, which an array has no need of; do not trust this file")
        self._stack.append(Name(word))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise DataError("it asks for a name that is no text")
        self._name(module, name)

    def _tuple_of(self, values: list[Any]) -> None:
        for value in values:
            if isinstance(value, Unfinished):
                self._plain(value)
        special = any(isinstance(value, (Name, Arguments, np.dtype)) for value in values)
        self._stack.append(Arguments(values) if special else tuple(values))

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise DataError("it adds values to what is no list")
        target.extend(map(self._plain, values))

    def _update(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict or len(values) % 2:
            raise DataError("it sets keys of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Strings are hashed with a secret; keys of other kinds can be chosen to collide, so that n take n^2 steps.
            if type(key) not in (str, int):
                raise DataError(f"a dictionary has a key of type {type(key).__name__}")
            if type(key) is int:
                self._numbered += 1
                if self._numbered > _MOST_NUMBERED:
                    raise DataError(f"its dictionaries have more than {_MOST_NUMBERED} keys that are numbers")
            target[key] = self._plain(value)

    def _new_dict(self, values: list[Any]) -> None:
        self._stack.append({})
        self._update(values)

    def _new_list(self, values: list[Any]) -> None:
        self._stack.append([self._plain(value) for value in values])

    def _append(self) -> None:
        self._extend([self._pop()])

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def _reduce(self) -> None:
        given, called = self._pop(), self._pop()
        if not isinstance(called, Name) or not isinstance(given, tuple):
            raise DataError("it calls what is no function")
        self._stack.append(self._made(called.word, given))

    def _made(self, word: str, given: tuple[Any, ...]) -> Any:
        """Return what one of `NAMES` makes of its arguments."""
        match word, given:
            case "array", (Name("ndarray"), tuple(), _):
                return Unfinished("array")
            case "dtype", (str(name), *_) if name in DTYPES:
                return Unfinished("dtype", name)
            case "dtype", (str(name), *_):
                raise DataError(f"it has an array of type '{name[:20]}'; only plain numbers and Booleans are read")
            case "scalar", (np.dtype() as dtype, data):
                return self._array((), dtype, data)[()]
            case "frombuffer", (data, np.dtype() as dtype, tuple(shape), "C" | "F" as order):
                return self._array(shape, dtype, data, order)
            case "encode", (str(data), "latin1" | "latin-1"):
                return self._latin1(data)
            case "bytes", ():
                return b""
            case ("dict", ()) | ("defaultdict", () | (Name("list"),)):
                return {}
            case "dict", (list(pairs),) if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
                self._new_dict([value for pair in pairs for value in pair])
                return self._pop()
            case "list", ():
                return []
        raise DataError(f"it calls '{word}' with other arguments than an array has")

    def _build(self) -> None:
        state, target = self._pop(), self._pop()
        if not isinstance(target, Unfinished) or not isinstance(state, tuple):
            raise DataError("it sets the state of what is no array")
        if target.word == "dtype":
            # version, byte order, and nothing that makes the type more than a plain one
            if len(state) not in (8, 9) or state[1] not in ("|", "<", ">", "=") or state[2:5] != (None, None, None):
                raise DataError("it has an array of a compound type")
            order = "|" if target.dtype[1] == "1" else str(state[1])
            result: Any = np.dtype(("" if order == "=" else order) + target.dtype)
        else:
            match state[1:] if len(state) == 5 else state:
                case (tuple(shape), np.dtype() as dtype, bool() | int() as fortran, data):
                    result = self._array(shape, dtype, data, "F" if fortran else "C")
                case _:
                    raise DataError("an array has another state than an array has")
        for place in target.places:
            if self._memo.get(place) is target:
                self._memo[place] = result
        self._stack.append(result)

    def _array(self, shape: tuple[Any, ...], dtype: np.dtype[Any], data: Any, order: Any = "C") -> Any:
        """Return an array that looks at bytes, without a copy of them."""
        if isinstance(data, str):
            data = self._latin1(data)
        if not isinstance(data, (bytes, bytearray)):
            raise DataError("an array has no bytes")
        if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
            raise DataError("an array has an impossible shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise DataError(f"an array of shape {shape} has {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order=order) if data else np.zeros(shape, dtype)

    def _latin1(self, data: str) -> bytes:
        # Each string of an honest file is encoded once; one that is encoded again and again fills the memory.
        self._encoded += len(data)
        if self._encoded > 2 * len(self._content):
            raise DataError("it encodes the same text again and again")
        return data.encode("latin1")


def _small(value: int) -> int:
    if not -(1 << 63) <= value < 1 << 64:
        raise DataError("it holds a number of more than 64 bits")
    return value


def _int(line: bytes) -> int:
    return _small(int(line.rstrip(b"L")))


def _pushed(value: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(value(machine))


_Step = Callable[[Machine], None]
_STEPS: dict[int, _Step] = {
    ord(code): step
    for code, step in {
        "\x80": Machine._proto,
        "\x95": Machine._frame,
        "(": Machine._mark,
        "0": Machine._discard,
        "1": Machine._since_mark,
        # places of the memo
        "p": lambda m: m._put(_int(m._line(32))),
        "q": lambda m: m._put(m._number("<B")),
        "r": lambda m: m._put(m._number("<I")),
        "\x94": lambda m: m._put(len(m._memo)),
        "g": lambda m: m._get(_int(m._line(32))),
        "h": lambda m: m._get(m._number("<B")),
        "j": lambda m: m._get(m._number("<I")),
        # numbers
        "N": _pushed(lambda m: None),
        "\x88": _pushed(lambda m: True),
        "\x89": _pushed(lambda m: False),
        "I": Machine._text_int,
        "L": _pushed(lambda m: _int(m._line(32))),
        "J": _pushed(lambda m: m._number("<i")),
        "K": _pushed(lambda m: m._number("<B")),
        "M": _pushed(lambda m: m._number("<H")),
        "\x8a": lambda m: m._long("<B"),
        "\x8b": lambda m: m._long("<i"),
        "F": _pushed(lambda m: float(m._line(64))),
        "G": _pushed(lambda m: m._number(">d")),
        # strings and bytes
        "S": Machine._old_string,
        "T": _pushed(lambda m: str(m._take(m._number("<i")), "latin1")),
        "U": _pushed(lambda m: str(m._take(m._number("<B")), "latin1")),
        "V": _pushed(lambda m: m._line().decode("raw-unicode-escape")),
        "\x8c": lambda m: m._text("<B"),
        "X": lambda m: m._text("<I"),
        "\x8d": lambda m: m._text("<Q"),
        "C": _pushed(lambda m: bytes(m._take(m._number("<B")))),
        "B": _pushed(lambda m: bytes(m._take(m._number("<I")))),
        "\x8e": _pushed(lambda m: bytes(m._take(m._number("<Q")))),
        "\x96": _pushed(lambda m: bytearray(m._take(m._number("<Q")))),
        # containers
        ")": lambda m: m._tuple_of([]),
        "\x85": lambda m: m._tuple_of([m._pop()]),
        "\x86": lambda m: m._tuple_of([m._pop(), m._pop()][::-1]),
        "\x87": lambda m: m._tuple_of([m._pop(), m._pop(), m._pop()][::-1]),
        "t": lambda m: m._tuple_of(m._since_mark()),
        "]": lambda m: m._new_list([]),
        "l": lambda m: m._new_list(m._since_mark()),
        "a": Machine._append,
        "e": lambda m: m._extend(m._since_mark()),
        "}": lambda m: m._new_dict([]),
        "d": lambda m: m._new_dict(m._since_mark()),
        "s": Machine._set_item,
        "u": lambda m: m._update(m._since_mark()),
        # names, and what is made with them
        "c": lambda m: m._name(m._line(200).decode("latin1"), m._line(200).decode("latin1")),
        "\x93": Machine._stack_global,
        "R": Machine._reduce,
        "b": Machine._build,
    }.items()
}
