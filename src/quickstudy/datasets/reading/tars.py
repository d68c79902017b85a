"""Find the plain files in a tar archive, with bounds on all that is read on the way.

Python's `tarfile` reads whole headers of whatever size they claim, and searches them in ways that take the square of
their length. What is read here are the formats of POSIX (ustar, pax) and of GNU tar, as POSIX.1-2017 (`pax`) and the
manual of GNU tar describe them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from quickstudy.datasets.reading.limits import Check
from quickstudy.errors import DataError

_BLOCK = 512
_MOST_HEADER = 1 << 20
_PLAIN = b"0\x007"
_NO_DATA = b"123456"  # links, devices, folders and pipes: whatever size they give, no data follow
_SPARSE = "is stored with holes (sparse), which is not read; pack it again without --sparse"


@dataclass(frozen=True)
class Member:
    """A plain file in a tar archive.

    Attributes:
        start: of its content in the unpacked archive.
        size: of its content in bytes.
    """

    start: int
    size: int


@dataclass
class _Next:
    """What extra headers say of the member that follows."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def members(stream: IO[bytes], check: Check, packed: int) -> tuple[dict[str, Member], list[str]]:
    """Return the plain files of an archive by name, in their order, and the names of its folders.

    Of two members of one name the later is taken, as by unpacking. Links, devices and pipes are left out.

    Args:
        stream: the unpacked archive, at its beginning.
        check: counts members and headers.
        packed: size of the packed archive in bytes.

    Raises:
        DataError: a name leads outside, or a limit is exceeded.
        ValueError: it is no tar archive, or corrupt.
        EOFError: it is truncated.
    """
    files: dict[str, Member] = {}
    folders: list[str] = []
    following = _Next()
    at = 0
    while True:
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            # The archive ends at an empty block; some writers leave it out.
            if (len(block) not in (0, _BLOCK)) or (not block and not at):
                raise EOFError("it ends within a header")
            return files, folders
        kind, name, size = _header(block)
        at += _BLOCK
        if kind in _NO_DATA:
            size = 0
        extra = kind in b"xgXLK"
        if extra:
            if size > _MOST_HEADER:
                raise DataError(f"a header of {check.path} has {size} bytes: it looks like a decompression bomb")
            _extra(kind, _exactly(stream, size), following)
            check.grow(_BLOCK + size, "a header")
        else:
            name = name if following.name is None else following.name
            size = size if following.size is None or kind in _NO_DATA else following.size
            if following.sparse or kind == b"S":
                raise DataError(f"member '{name[:200]}' of {check.path} {_SPARSE}")
            check.grow(_BLOCK, "a header")
            # Only plain files have content that counts: whatever else has data, they are skipped.
            check.add(name, size)
            following = _Next()
        # A tar file is compressed as a whole, so that the ratio is known only of all so far.
        check.ratio("all that is in front", check.total, packed)
        if not extra:
            if kind in _PLAIN and not name.endswith("/"):
                files[name] = Member(at, size)
            elif kind == b"5" or name.endswith("/"):
                folders.append(name)
            if size:
                stream.seek(at + size - 1)
                _exactly(stream, 1)
        at += size + -size % _BLOCK
        stream.seek(at)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("it ends early")
    return content


def _header(block: bytes) -> tuple[bytes, str, int]:
    """Return the kind, name and size in a header."""
    if len(block) < _BLOCK:
        raise EOFError("it ends within a header")
    # Some writers add up bytes as signed ones.
    others = block[:148] + b" " * 8 + block[156:]
    signed = sum(others) - 256 * sum(byte > 127 for byte in others)
    if _number(block[148:156]) not in (sum(others), signed):
        raise ValueError("a header's sum is wrong")
    name = _text(block[:100])
    prefix = _text(block[345:500])
    if prefix and block[257:263] == b"ustar\0":
        name = f"{prefix}/{name}"
    size = _number(block[124:136])
    if size < 0:
        raise ValueError("a header gives a negative size")
    return block[156:157], name, size


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """Return a number of a header: octal digits, or binary after a byte that says so."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value - (256 ** (len(field) - 1) if field[0] == 0xFF else 0)
    digits = field.split(b"\0", 1)[0].strip()
    if not set(digits) <= set(b"01234567"):
        raise ValueError("a header's number is none")
    return int(digits or b"0", 8)


def _extra(kind: bytes, content: bytes, following: _Next) -> None:
    """Note what an extra header says of the next member."""
    if kind == b"L":
        following.name = _text(content)
    if kind in b"LK":
        return
    at = 0
    while at < len(content) and content[at]:
        end = content.find(b" ", at, at + 20)
        length = content[at:end]
        if end < 0 or not length.isdigit() or not end - at < int(length) <= len(content) - at:
            raise ValueError("a pax header is damaged")
        record = content[end + 1 : at + int(length)].removesuffix(b"\n")
        at += int(length)
        key, _, value = record.partition(b"=")
        if kind == b"g":
            if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
                raise ValueError("one header gives all members one name or size")
        elif key == b"path":
            following.name = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise ValueError("a pax header gives an impossible size")
            following.size = int(value)
        elif key.startswith(b"GNU.sparse"):
            following.sparse = True
