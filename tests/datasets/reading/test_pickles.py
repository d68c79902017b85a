from __future__ import annotations

import collections
import pickle
import pickletools
import random
import resource
import struct
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

from quickstudy.datasets.reading.pickles import load_pickle
from quickstudy.errors import DataError

PROTOCOLS = range(6)


def honest() -> dict[str, Any]:
    """Return what publishers' pickles hold, in the kinds of NumPy and Python."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    repeated = "n01532829"
    return {
        "image_data": images,
        "class_dict": {repeated: [0, 1, 2], "n02": np.arange(3, 6), "é": list(np.arange(2))},
        "order": np.asfortranarray(rng.random((3, 4))),
        "swapped": np.arange(5, dtype=">i4"),
        "part": images[::2, 1:],
        "empty": np.zeros((0, 3), dtype=np.float32),
        "sure": np.array([True, False]),
        "scalar": np.float32(0.5),
        "numbers": [0, 255, 256, 65536, -1, 2**40, -(2**63), 1.5, True, None, 2**64 - 1],
        "texts": ["", "x" * 300, repeated, b"bytes", b"", "\ud800"],
        "pairs": ((1, 2), (1, 2, 3, 4), ()),
        "by_class": collections.defaultdict(list, {"a": [1]}),
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "numbered": {1: "one", 2: "two"},
    }


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray):
        return isinstance(found, np.ndarray) and found.dtype == wanted.dtype and np.array_equal(found, wanted)
    if isinstance(wanted, dict):
        return type(found) is dict and list(found) == list(wanted) and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_python_writes_is_read(protocol: int) -> None:
    content = pickle.dumps(honest(), protocol)
    assert same(load_pickle(content, "f"), honest())
    assert same(load_pickle(pickletools.optimize(content), "f"), honest())
    for old, new in (
        (b"numpy._core.", b"numpy.core."),
        (b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"),
        (b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric"),
    ):
        # The names that NumPy 1 wrote; where a name carries its length, only the replacement that mends it is right.
        if protocol < 4 or old.startswith(b"\x8c"):
            content = content.replace(old, new)
    if protocol < 4:
        assert same(load_pickle(content, "f"), honest())


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_what_python_2_wrote_is_read(protocol: int) -> None:
    """Python 2 wrote arrays' bytes and names as byte strings."""
    data = bytes(range(256))
    quoted = b"S" + repr(data)[1:].encode() + b"\n"
    short = b"U\xff" + data[:255] if protocol else b"S" + repr(data[:255])[1:].encode() + b"\n"
    body = (
        b"(dp0\n" + b"S'image_data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
        b"S'b'\np5\ntp6\nRp7\n(I1\n(I16\nI16\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n"
        b"(I3\nS'|'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
        + quoted
        + b"p15\ntp16\nbsS'text'\n"
        + short
        + b"sS'n'\nL5L\ns."
    )
    found = load_pickle(body, "f")
    assert found["image_data"].tobytes() == data
    assert found["text"] == data[:255].decode("latin1")
    assert found["n"] == 5


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def dtype_of(kind: str, state: bytes = b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t") -> bytes:
    return named("numpy", "dtype") + text(kind) + b"K\x00K\x01\x87R" + state + b"b"


def array_of(dtype: bytes, content: bytes, shape: bytes = b"K\x01\x85") -> bytes:
    start = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85" + data(b"b")
    return start + b"\x87R" + b"(K\x01" + shape + dtype + b"\x89" + data(content) + b"tb"


OBJECT = b"(K\x03X\x01\0\0\0|NNNJ\x08\0\0\0J\x08\0\0\0K\0t"
STRUCT = b"(K\x03X\x01\0\0\0|NX\x01\0\0\0a\x85}X\x01\0\0\0a" + dtype_of("u1") + b"K\x40\x86sK\x01K\x01K\x00t"
SUBARRAY = b"(K\x03X\x01\0\0\0|" + dtype_of("i8") + b"NNK\x08K\x08K\0t"
ENDLESS = b"(" + b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" * 9 + b"K\0t"
ENCODED = named("_codecs", "encode") + b"h\0" + text("latin1") + b"\x86R"
HOSTILE = {
    "an object array made of bytes": array_of(dtype_of("O8", OBJECT), b"A" * 8),
    "an object array in a list": named("builtins", "list") + array_of(dtype_of("O8", OBJECT), b"A" * 8) + b"\x85R",
    "a void array": array_of(dtype_of("V8"), b"A" * 8),
    "a field beyond the end": array_of(dtype_of("V1", STRUCT), b"A"),
    "a subarray": array_of(dtype_of("u1", SUBARRAY), b"A" * 8),
    "an array larger than its bytes": array_of(dtype_of("u1"), b"A", b"J\xff\xff\xff\x7f\x85"),
    "an array of a negative size": array_of(dtype_of("u1"), b"A", b"J\xff\xff\xff\xff\x85"),
    "an array without end": array_of(dtype_of("u1"), b"", ENDLESS),
    "the state of a function": named("numpy.core.numeric", "_frombuffer") + b"N}" + text("__doc__") + b"Ns\x86b",
    "a function as a value": b"]" + named("numpy.core.numeric", "_frombuffer") + b"a",
    "a function as the result": named("_codecs", "encode"),
    "a type within tuples": b"]" + dtype_of("u1") + b"\x85\x85a",
    "an array that is never finished": b"]" + array_of(dtype_of("u1"), b"A").split(b"(K\x01")[0] + b"a",
    "another function": named("os", "system") + text("true") + b"\x85R",
    "a dotted name": named("numpy.core.multiarray", "_reconstruct.__globals__"),
    "a module by another road": named("numpy", "core.multiarray._reconstruct"),
    "encoding anew and anew": text("A" * 4096) + b"q\0" + b"0" + ENCODED * 999,
    "another codec": named("_codecs", "encode") + text("A") + text("hex") + b"\x86R",
    "an extension": b"\x82\x01",
    "a new object": named("collections", "OrderedDict") + b")\x81",
    "a persistent thing": b"Pevil\n",
    "a buffer from elsewhere": b"\x97",
    "numbers without end": b"\x8b\xff\xff\xff\x7f",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "keys that are tuples": b"}" + b"K\1\x85K\1s",
    "keys that are lists": b"}]K\1s",
    "lists of lists of lists": b"](K\1K\1K\1e" + b"q\0](h\0h\0h\0h\0e" * 40,
    "a list that holds itself": b"]q\0h\0a",
    "a hundred thousand open marks": b"(" * 100_000,
    "a frame beyond the end": b"\x95" + struct.pack("<Q", 1 << 40),
    "a string beyond the end": b"\x8d" + struct.pack("<Q", 1 << 62),
    "a negative length": b"T\xff\xff\xff\xff",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_are_refused(what: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^f (was refused|is truncated or corrupt)") as error:
            load_pickle(b"\x80\x02" + HOSTILE[what] + b".", "f")
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_deep_pickle_is_read() -> None:
    found = load_pickle(b"]" * 20_000 + b"a" * 19_999 + b".", "f")
    assert len(found) == 1


def test_numbers_that_collide_take_no_time() -> None:
    """Keys that meet the same places of a table cost the square of their number."""
    keys = b"".join(b"\x8a\x08" + struct.pack("<q", number << 40) + b"N" for number in range(1, 30_000))
    with pytest.raises(DataError, match="keys that are numbers"):
        load_pickle(b"}(" + keys + b"u.", "f")


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """Return a pickle that was damaged in one to eight places, or put together from pieces of several."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(content) + 1)
        way = chance.randrange(7)
        if way == 0 and at < len(content):
            content[at] = chance.randrange(256)
        elif way == 1 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            content[at:at] = chance.randbytes(chance.randint(1, 8))
        elif way == 3:
            del content[at : at + chance.randint(1, 16)]
        elif way == 4:
            other = chance.choice(seeds)
            start = chance.randrange(len(other))
            content[at:at] = other[start : start + chance.randint(1, 200)]
        elif way == 5:
            content[at:at] = chance.choice(CODES)
        else:
            content[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)))
    return bytes(content)


CODES = [code.code.encode("latin1") for code in pickletools.opcodes]


def fuzz(first: int, count: int) -> int:
    """Read damaged pickles, in a process that may use little; return how many were read all the same."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    seeds = [pickle.dumps(honest(), protocol) for protocol in PROTOCOLS] + [
        b"\x80\x02" + h + b"." for h in HOSTILE.values() if len(h) < 9999
    ]
    read = 0
    for number in range(first, first + count):
        try:
            load_pickle(mutated(random.Random(number), seeds), "f")
            read += 1
        except DataError:
            pass
    return read


def in_a_child(first: int, count: int) -> None:
    code = f"from tests.datasets.reading.test_pickles import fuzz; print(fuzz({first}, {count}))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60 + count // 50)
    assert child.returncode == 0, child.stderr[-2000:]
    assert 0 < int(child.stdout) < count


def test_damaged_pickles_end_in_one_kind_of_error() -> None:
    in_a_child(0, 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_100_000_damaged_pickles(part: int) -> None:
    in_a_child(10_000 * part + 10_000, 10_000)
