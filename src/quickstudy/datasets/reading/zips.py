"""Find the plain files in a zip archive, and refuse those that are made to deceive."""

from __future__ import annotations

import itertools
import zipfile

from quickstudy.datasets.reading.limits import Check, spelled
from quickstudy.errors import DataError

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_HEADER = 30
_UTF_8, _ENCRYPTED = 0x800, 0x1


def members(file: zipfile.ZipFile, check: Check) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """Return the plain files of an archive by name, in their order, and the names of its folders.

    Names are spelled with '/', whoever packed the archive. Links are left out.

    Args:
        file: the open archive.
        check: counts members.

    Raises:
        DataError: a name leads outside or occurs twice, members overlap, or a limit is exceeded.
    """
    files: dict[str, zipfile.ZipInfo] = {}
    folders: list[str] = []
    for info in file.infolist():
        name = _name(info)
        check.add(name, info.file_size, info.compress_size)
        linked = (info.external_attr >> 16) & 0o170000 == 0o120000
        if name.endswith(("/", "\\")):
            folders.append(spelled(name))
        elif not linked:
            if spelled(name) in files:
                raise DataError(f"{check.path} holds two members '{name[:200]}'; keep one")
            files[spelled(name)] = info
    _refuse_overlaps(file.infolist(), check)
    return files, folders


def refuse_unreadable(info: zipfile.ZipInfo, where: str) -> None:
    """Refuse a member that is encrypted or packed in a way that Python does not know.

    Raises:
        DataError: it is.
    """
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{where} is encrypted; unpack the archive with its password first")
    if info.compress_type not in _METHODS:
        raise DataError(f"{where} is packed by method {info.compress_type}, which is not read; pack it as ordinary zip")


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; macOS writes UTF-8 without the mark that says so."""
    if info.flag_bits & _UTF_8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _refuse_overlaps(infos: list[zipfile.ZipInfo], check: Check) -> None:
    """Refuse members that share bytes: a small archive of such members unpacks to any size."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for one, other in itertools.pairwise(ordered):
        if one.header_offset + _HEADER + one.compress_size > other.header_offset:
            raise DataError(
                f"members '{one.filename[:200]}' and '{other.filename[:200]}' of {check.path} overlap: it looks like a "
                "decompression bomb"
            )
