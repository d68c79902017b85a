"""Read files out of zip and tar archives, or out of a folder in the same way, without trusting any of them.

Members are read straight from the archive where that serves; `extract` is for programs that need files on disk.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from quickstudy.datasets.reading import tars, zips
from quickstudy.datasets.reading.folders import walk
from quickstudy.datasets.reading.limits import Check, Limits, readable, spelled
from quickstudy.errors import DataError

_Info = TypeVar("_Info")

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, NotImplementedError)

# By the bytes that files begin with.
_PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard", b"\x89HDF": "HDF5"}


class Archive(ABC):
    """Named byte strings. Names are relative, have '/' between folders and never lead outside.

    Attributes:
        path: of the archive or folder.
        names: of the plain files, in the order in which they are stored.
        folders: names of the folders that it knows of.
        broken: names of links that lead nowhere.
    """

    path: Path
    names: list[str]
    folders: Sequence[str] = ()
    broken: Sequence[str] = ()

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a member.

        Raises:
            DataError: there is no such member, or it is truncated or corrupt.
        """

    def find(self, name: str) -> str:
        """Return the one member whose name is `name` or ends in '/name'; archives differ in their top folder.

        Raises:
            DataError: none does, or several do.
        """
        found = [key for key in self.names if key == name or key.endswith(f"/{name}")]
        if len(found) != 1:
            what = f"several: {', '.join(sorted(found)[:3])}" if found else "none"
            raise DataError(f"{self.path} should hold one member '{name}' and holds {what}; is it the right archive?")
        return found[0]

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) in the order in which the members are stored, for which alone tar is fast."""
        wanted = set(names)
        for name in self.names:
            if name in wanted:
                yield name, self.read(name)


@contextmanager
def open_archive(path: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[Archive]:
    """Open a zip or tar archive, or a folder, for reading.

    Links in a folder are followed; links in an archive, devices and pipes are left out.

    Args:
        path: file, compressed in any way that `zipfile` knows or, for tar, by gzip, bzip2 or xz; or folder.
        limits: see `Limits`.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: the archive is truncated or corrupt, of another kind, has a member that leads outside (an absolute
            path or '..'), exceeds the limits, or a link of a folder leads back to it.
    """
    path, limits = Path(path), limits or Limits()
    if path.is_dir():
        yield _Folder(path, limits)
        return
    readable(path)
    with ExitStack() as stack:
        try:
            with open(path, "rb") as file:
                start = file.read(8)
            for sign, kind in _OTHERS.items():
                if start.startswith(sign):
                    raise DataError(f"{path} is a {kind} file, which is not read; unpack it, or pack it as zip")
            if start.startswith(b"PK"):
                _refuse_many(path, limits)
                archive: Archive = _Zip(path, stack.enter_context(zipfile.ZipFile(path)), limits)
            else:
                opened = next((opened for sign, opened in _PACKED.items() if start.startswith(sign)), open)
                archive = _Tar(path, stack.enter_context(opened(path, "rb")), limits)
        except DataError:
            raise
        except _BROKEN as error:
            raise DataError(f"{path} is not a readable zip or tar archive ({error}); download it again") from error
        yield archive


def extract(path: str | os.PathLike[str], folder: str | os.PathLike[str], limits: Limits | None = None) -> Path:
    """Extract the plain files of an archive into a new folder, which appears complete or not at all.

    Links and special files are left out; nothing is ever written outside the folder.

    Args:
        path: a zip or tar archive.
        folder: to make; it must not exist.
        limits: see `Limits`.

    Returns:
        The folder.

    Raises:
        DataError: as for `open_archive`, or the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise DataError(f"{target} exists already; remove it or name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with open_archive(path, limits) as archive:
            for name, content in archive.read_all(archive.names):
                place = temporary / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_gzip(path: Path, limit: int) -> bytes:
    """Return the content of a file that may be compressed by gzip.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no plain file, is truncated or corrupt, or holds more than `limit` bytes.
    """
    readable(path)
    # A file that is a bomb says so before it fills the memory.
    packed = max(1 << 20, int(Limits().ratio * path.stat().st_size))
    limit = min(limit, packed)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as stream:
            content = stream.read(limit + 1)
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    if len(content) > limit:
        raise DataError(f"{path} holds more than {limit} bytes; it is not what it should be")
    return content


class _Folder(Archive):
    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self._limits = path, limits
        self.names, self.folders, self.broken = walk(path, limits)

    def read(self, name: str) -> bytes:
        place = self.path / name
        try:
            # Looked at again: what was a file may have become a pipe, which would be waited for.
            size = readable(place).stat().st_size
            if size > self._limits.member:
                raise DataError(f"{place} has {size} bytes, more than {self._limits.member}; leave it out")
            return place.read_bytes()
        except DataError:
            raise
        except OSError as error:
            raise DataError(
                f"{place} cannot be read ({error.strerror}); change its permissions or leave it out"
            ) from error


class _Zip(Archive):
    def __init__(self, path: Path, file: zipfile.ZipFile, limits: Limits) -> None:
        self.path, self._file = path, file
        self._members, self.folders = zips.members(file, Check(path, limits))
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        info = _member(self.path, name, self._members)
        zips.refuse_unreadable(info, f"member '{name}' of {self.path}")
        with _reading(self.path, name), self._file.open(info) as stream:
            return _exactly(stream, info.file_size)


class _Tar(Archive):
    def __init__(self, path: Path, stream: IO[bytes], limits: Limits) -> None:
        self.path, self._stream = path, stream
        found, folders = tars.members(stream, Check(path, limits), path.stat().st_size)
        self._members = {spelled(name): member for name, member in found.items()}
        self.names, self.folders = list(self._members), [spelled(name) for name in folders]

    def read(self, name: str) -> bytes:
        member = _member(self.path, name, self._members)
        with _reading(self.path, name):
            self._stream.seek(member.start)
            return _exactly(self._stream, member.size)


def _refuse_many(path: Path, limits: Limits) -> None:
    """Refuse a zip archive with a list of members beyond the limit, before the list is read."""
    end = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, end - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at >= 0 and len(tail) >= at + 16:
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        # Of the largest archives the true size stands elsewhere, but the list is no larger than the file.
        size = end if size == 0xFFFFFFFF else size
        if size > limits.count * (46 + 255):
            raise DataError(f"{path} lists its members in {size} bytes: it looks like a decompression bomb")


def _member(path: Path, name: str, members: Mapping[str, _Info]) -> _Info:
    if name not in members:
        raise DataError(f"{path} has no member '{name}'")
    return members[name]


@contextmanager
def _reading(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (*_BROKEN, RuntimeError) as error:
        raise DataError(f"member '{name}' of {path} is truncated or corrupt ({error}); download it again") from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """Read a member, and not more than the size that the limits were checked against."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"it has not the {size} bytes that it claims")
    return content
