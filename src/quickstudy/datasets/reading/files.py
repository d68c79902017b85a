"""Where data sets live: find a file, download it with a checksum, and keep what was made from it in a cache.

A file is looked for in this order:

1. the path that the caller gave, a file or a folder;
2. the folder in the environment variable `QUICKSTUDY_DATA`, laid out as `omniglot/images_background.zip` and so on;
3. the user's cache, laid out in the same way;
4. its publisher, unless the environment variable `QUICKSTUDY_OFFLINE` is set to anything but 0.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from quickstudy.datasets.base import ClassData
from quickstudy.errors import DataError, DataNotFoundError, QuickstudyError

logger = logging.getLogger(__name__)

# Bump when the layout of cached files changes: older files are then made again.
_CACHE_VERSION = "1"
_TENSORS = ("inputs", "labels", "source", "targets")


@dataclass(frozen=True)
class PublishedFile:
    """A file as its publisher offers it.

    Args:
        path: where it lies below a data folder, say 'omniglot/images_background.zip'.
        url: where it comes from; empty if it must be asked for by hand.
        sha256: checksum in hexadecimal, for the download.
        note: how to obtain it where there is no direct download.
    """

    path: str
    url: str = ""
    sha256: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """Return the user's cache folder for Quickstudy; it need not exist yet."""
    # Not every version of pooch's own lookup honours XDG_CACHE_HOME on macOS and Windows.
    root = os.environ.get("XDG_CACHE_HOME")
    return Path(root) / "quickstudy" if root else Path(pooch.os_cache("quickstudy"))


def data_folders() -> list[Path]:
    """Return the folders searched for data files, in order."""
    named = os.environ.get("QUICKSTUDY_DATA")
    return [*([Path(named).expanduser()] if named else []), cache_folder()]


def find(files: PublishedFile | Sequence[PublishedFile], path: str | os.PathLike[str] | None = None) -> Path:
    """Return the local path of a published file, downloading it if need be.

    Args:
        files: the file, or several that serve equally, the preferred one first. The first with a checksum is the one
            that is downloaded.
        path: a file to use as it is, or a folder that is one of `files` or holds one, by name or in the layout of a
            data folder.

    Raises:
        DataNotFoundError: there is no copy and none could be downloaded; the message says what to put where.
    """
    options = [files] if isinstance(files, PublishedFile) else list(files)
    if path is not None:
        given = Path(path).expanduser()
        if given.is_file() or (given.is_dir() and given.name in {option.name for option in options}):
            return given
        for option in options:
            for candidate in (given / option.name, given / option.path):
                if candidate.exists():
                    return candidate
        names = " or ".join(option.name for option in options)
        raise DataNotFoundError(f"path '{given}' is neither a file nor a folder that holds {names}; {_advice(options)}")
    for folder in data_folders():
        for option in options:
            if (folder / option.path).exists():
                return folder / option.path
    wanted = next((option for option in options if option.url and option.sha256), None)
    if wanted is None:
        raise DataNotFoundError(f"no copy of {options[0].name} was found; {_advice(options)}")
    return _download(wanted)


def _download(file: PublishedFile) -> Path:
    """Fetch a file into the cache; pooch writes to a temporary name and checks the sum before renaming."""
    if os.environ.get("QUICKSTUDY_OFFLINE", "0") not in ("", "0"):
        raise DataNotFoundError(
            f"no copy of {file.name} was found and QUICKSTUDY_OFFLINE forbids a download; {_advice([file])}"
        )
    target = cache_folder() / file.path
    progress = _Progress(file.name) if sys.stderr.isatty() else False
    try:
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
        )
    except (OSError, ValueError) as error:  # every error of requests is an OSError; a wrong sum is a ValueError
        raise DataNotFoundError(f"{file.name} could not be downloaded: {error}; {_advice([file])}") from error
    return target


def _advice(files: Sequence[PublishedFile]) -> str:
    """Say which file to put where."""
    file = files[0]
    folder = data_folders()[0]
    where = f"save it as {folder / file.path}"
    if len(files) > 1:
        where += " (" + ", ".join(f"{other.path} serves too" for other in files[1:]) + ")"
    if "QUICKSTUDY_DATA" not in os.environ:
        where += f", or as {file.path} below a folder named by the environment variable QUICKSTUDY_DATA"
    origin = f"get it from {file.url}" if file.url else file.note
    return f"{origin} and {where}, or give its path"


class _Progress:
    """The part of tqdm's interface that pooch calls, drawn by rich on standard error."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(name)
        self.total = 0

    def update(self, amount: int) -> None:
        self._bar.start()
        self._bar.update(self._task, advance=amount, total=self.total)

    def reset(self) -> None:
        self._bar.reset(self._task, total=self.total)

    def close(self) -> None:
        self._bar.stop()


def sha256(path: Path) -> str:
    """Return the SHA-256 sum of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename across file systems would not be atomic. Not by `tempfile`, whose files only
    # their owner can read: caches may be shared.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cached(
    name: str, parameters: Mapping[str, Any], make: Callable[[], ClassData], folder: Path | None = None
) -> ClassData:
    """Return what `make` returns, from the cache if it was made before with the same parameters.

    A cached file that is damaged or of another version is made again. A cache folder that cannot be written costs
    only the time saved: the data are returned and a warning is logged.

    Args:
        name: of the data set; part of the file's name.
        parameters: everything that the result depends on, JSON values.
        make: makes the data.
        folder: of the cached files; None means `processed` in the user's cache.
    """
    key = json.dumps({"version": _CACHE_VERSION, **parameters}, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = (folder or cache_folder() / "processed") / f"{name}-{digest}.safetensors"
    try:
        if path.is_file():
            return _load(path, key)
    except (DataError, OSError) as error:
        logger.warning("the cached file %s is unusable and is made again: %s", path, error)
    data = make()
    try:
        write_atomic(path, _dump(data, key))
    except OSError as error:
        logger.warning("%s could not be cached in %s: %s", name, path.parent, error)
    return data


def _dump(data: ClassData, key: str) -> bytes:
    tensors = {name: getattr(data, name) for name in _TENSORS if getattr(data, name) is not None}
    described = {"name": data.name, "classes": data.classes, "attributes": dict(data.attributes)}
    metadata = {"key": key, "data": json.dumps(described), "fingerprint": data.fingerprint}
    return save({name: value.contiguous() for name, value in tensors.items()}, metadata)


def _load(path: Path, key: str) -> ClassData:
    """Read a cached file; the fingerprint notices bits that changed, which safetensors does not."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                raise DataError("it was made with other parameters")
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(metadata["data"])
        data = ClassData(
            classes=tuple(described["classes"]),
            name=described["name"],
            attributes={name: tuple(values) for name, values in described["attributes"].items()},
            **tensors,
        )
    except (SafetensorError, QuickstudyError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(str(error)) from error
    if data.fingerprint != metadata.get("fingerprint"):
        raise DataError("its contents do not match its checksum")
    return data
