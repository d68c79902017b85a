"""Read files out of zip and tar archives, or out of a folder in the same way, without trusting any of them.

Members are read straight from the archive where that serves; `extract` is for programs that need files on disk.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from quickstudy.errors import DataError, DataNotFoundError

_Info = TypeVar("_Info")

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Limits:
    """Limits of an archive; more is taken for a decompression bomb.

    Args:
        total: bytes of all members.
        member: bytes of one member.
        count: number of members.
        ratio: size to compressed size, of any member (zip) or of the whole (tar), above one MiB.
    """

    total: int = 64 << 30
    member: int = 4 << 30
    count: int = 5_000_000
    ratio: float = 250.0


class Archive(ABC):
    """Named byte strings. Names are relative, have '/' between folders and never lead outside."""

    path: Path
    names: list[str]

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

    Args:
        path: file, compressed in any way that `zipfile` and `tarfile` know, or folder.
        limits: see `Limits`.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: the archive is truncated or corrupt, of another kind, has a member that leads outside (an absolute
            path or '..'), or exceeds the limits.
    """
    path, limits = Path(path), limits or Limits()
    if path.is_dir():
        yield _Folder(path)
        return
    if not path.is_file():
        raise DataNotFoundError(f"there is no file or folder {path}; check the path")
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    try:
        opened: zipfile.ZipFile | tarfile.TarFile
        opened = zipfile.ZipFile(path) if zipped else tarfile.open(path)  # noqa: SIM115 - closed below
    except _BROKEN as error:
        raise DataError(f"{path} is not a readable zip or tar archive ({error}); download it again") from error
    with opened:
        if isinstance(opened, zipfile.ZipFile):
            yield _Zip(path, opened, limits)
        else:
            yield _Tar(path, opened, limits)


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
        DataError: it is truncated or corrupt, or holds more than `limit` bytes.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as stream:
            content: bytes = stream.read(limit + 1)
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    if len(content) > limit:
        raise DataError(f"{path} holds more than {limit} bytes; it is not what it should be")
    return content


class _Folder(Archive):
    def __init__(self, path: Path) -> None:
        self.path = path
        files = (entry for entry in path.rglob("*") if entry.is_file())
        self.names = sorted(file.relative_to(path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read: {error}") from error


class _Zip(Archive):
    def __init__(self, path: Path, file: zipfile.ZipFile, limits: Limits) -> None:
        self.path, self._file = path, file
        check = _Check(path, limits)
        self._members = {}
        for info in file.infolist():
            linked = (info.external_attr >> 16) & 0o170000 == 0o120000
            check.add(info.filename, info.file_size, info.compress_size)
            if not info.is_dir() and not linked:
                self._members[info.filename] = info
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        info = _member(self.path, name, self._members)
        return _read(self.path, name, lambda: self._file.open(info), info.file_size)


class _Tar(Archive):
    def __init__(self, path: Path, file: tarfile.TarFile, limits: Limits) -> None:
        self.path, self._file = path, file
        check = _Check(path, limits)
        self._members = {}
        packed = path.stat().st_size
        try:
            for info in file:
                # A tar file is compressed as a whole, so that the ratio is known only of all members so far.
                check.add(info.name, info.size, None)
                check.ratio("all members", check.total, packed)
                if info.isfile():
                    self._members[info.name.removeprefix("./")] = info
        except _BROKEN as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is truncated or corrupt ({error}); download it again") from error
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        info = _member(self.path, name, self._members)

        def opened() -> IO[bytes]:
            stream = self._file.extractfile(info)
            if stream is None:
                raise ValueError("it is not a plain file")
            return stream

        return _read(self.path, name, opened, info.size)


def _member(path: Path, name: str, members: Mapping[str, _Info]) -> _Info:
    if name not in members:
        raise DataError(f"{path} has no member '{name}'")
    return members[name]


def _read(path: Path, name: str, opened: Callable[[], IO[bytes]], size: int) -> bytes:
    """Read a member, and not more than the size that the limits were checked against."""
    try:
        with opened() as stream:
            content = stream.read(size + 1)
    except (*_BROKEN, RuntimeError) as error:  # RuntimeError: an encrypted zip member
        raise DataError(f"member '{name}' of {path} is truncated or corrupt ({error}); download it again") from error
    if len(content) != size:
        raise DataError(f"member '{name}' of {path} has not the {size} bytes that it claims; download it again")
    return content


class _Check:
    """Counts members against the limits and looks at their names."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self.count = self.total = 0

    def add(self, name: str, size: int, packed: int | None) -> None:
        parts = PurePosixPath(name.replace("\\", "/"))
        drive = len(name) > 1 and name[1] == ":"
        if parts.is_absolute() or ".." in parts.parts or drive or "\0" in name:
            raise DataError(f"member '{name}' of {self.path} would lie outside its folder; do not trust this archive")
        self.count += 1
        self.total += size
        if size > self.limits.member:
            self._refuse(name, f"has {size} bytes, more than {self.limits.member}")
        if self.total > self.limits.total:
            self._refuse(name, f"brings the total to {self.total} bytes, more than {self.limits.total}")
        if self.count > self.limits.count:
            self._refuse(name, f"is beyond the limit of {self.limits.count} members")
        if packed is not None:
            self.ratio(f"member '{name}'", size, packed)

    def ratio(self, what: str, size: int, packed: int) -> None:
        if size > 1 << 20 and size > self.limits.ratio * packed:
            raise DataError(
                f"{what} of {self.path} would grow {size / max(packed, 1):.0f}-fold, more than {self.limits.ratio:g}: "
                "it looks like a decompression bomb"
            )

    def _refuse(self, name: str, why: str) -> None:
        raise DataError(f"member '{name}' of {self.path} {why}: it looks like a decompression bomb")
