"""How much may an archive or a folder hold, and how are its members called?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quickstudy.errors import DataError, DataNotFoundError

_MOST_NAME = 4096


@dataclass(frozen=True)
class Limits:
    """Limits of an archive; more is taken for a decompression bomb.

    Args:
        total: bytes of all members, with their headers.
        member: bytes of one member.
        count: number of members.
        ratio: size to compressed size, of any member (zip) or of the whole (tar), above one MiB.
        empty: number of folders, links and files without content, beyond as many as there are files with content.
    """

    total: int = 64 << 30
    member: int = 4 << 30
    count: int = 5_000_000
    ratio: float = 250.0
    empty: int = 10_000


def spelled(name: str) -> str:
    """Return a member's name with '/' between folders, without './' and other empty parts, however it was written."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def readable(path: str | os.PathLike[str]) -> Path:
    """Return the path of a plain file, or raise: a pipe would wait for ever, and a device may never end.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is a folder, a pipe, a socket or a device.
    """
    place = Path(path)
    if not place.exists():
        raise DataNotFoundError(f"there is no folder or file {place}; check the path")
    if not place.is_file():
        raise DataError(f"{place} is not a plain file; give a file")
    return place


class Check:
    """Counts members against the limits and looks at their names.

    Args:
        path: of the archive, for messages.
        limits: see `Limits`.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self.count = self.total = self.empty = 0

    def add(self, name: str, size: int, packed: int | None = None) -> None:
        """Count a member of an archive, `size` bytes large, `packed` bytes in the archive if that is known.

        Raises:
            DataError: its name leads outside, or a limit is exceeded.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        drive = len(name) > 1 and name[1] == ":"
        shown = name[:200]
        if parts.is_absolute() or ".." in parts.parts or drive or "\0" in name:
            raise DataError(f"member '{shown}' of {self.path} would lie outside its folder; do not trust this archive")
        if len(name) > _MOST_NAME:
            raise DataError(f"member '{shown}...' of {self.path} has a name of {len(name)} letters; shorten it")
        self.found(shown, size)
        if packed is not None:
            self.ratio(f"member '{shown}'", size, packed)

    def found(self, shown: str, size: int) -> None:
        """Count a member whose name is above suspicion.

        Raises:
            DataError: a limit is exceeded.
        """
        self.count += 1
        self.empty += not size
        if size > self.limits.member:
            self._refuse(shown, f"has {size} bytes, more than {self.limits.member}")
        if self.count > self.limits.count:
            self._refuse(shown, f"is beyond the limit of {self.limits.count} members")
        if self.empty > self.limits.empty + (self.count - self.empty):
            self._refuse(shown, f"is one of {self.empty} members without content")
        self.grow(size, f"member '{shown}'")

    def grow(self, size: int, what: str) -> None:
        """Count bytes that are no member's own, such as headers.

        Raises:
            DataError: there are too many in all.
        """
        self.total += size
        if self.total > self.limits.total:
            raise DataError(
                f"{what} of {self.path} brings the total to {self.total} bytes, more than {self.limits.total}: it "
                "looks like a decompression bomb"
            )

    def ratio(self, what: str, size: int, packed: int) -> None:
        """Compare a size with the size in the archive.

        Raises:
            DataError: it is larger than the limit of the ratio allows.
        """
        if size > 1 << 20 and size > self.limits.ratio * packed:
            raise DataError(
                f"{what} of {self.path} would grow {size / max(packed, 1):.0f}-fold, more than {self.limits.ratio:g}: "
                "it looks like a decompression bomb"
            )

    def _refuse(self, name: str, why: str) -> None:
        raise DataError(f"member '{name}' of {self.path} {why}: it looks like a decompression bomb")
