"""Files that are written whole or not at all, and read without waiting, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

from quickstudy.errors import CheckpointError
from quickstudy.storage import locking

LAST, BEST, RUN, CLASSES, LOG = "last.safetensors", "best.safetensors", "run.json", "classes.json", "metrics.csv"
"""The files of a run folder."""
MOST_JSON = 2**26
"""Bytes of the largest JSON file that is read: 64 MiB, some million class names."""
UNFINISHED = re.compile(rf"\.({'|'.join(map(re.escape, (LAST, BEST, RUN, CLASSES, LOG)))})\.[0-9a-f]{{16}}")
"""Names of the files of a run folder while they are written."""
KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves either the old content or the new, never a part.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile's: its files are private, and a run folder is for everybody whom the umask lets in.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except (OSError, ValueError) as error:
        raise write_error(path, error) from error
    file = os.fdopen(handle, "wb")
    try:
        locking.mark_in_use(handle)
        file.write(content)
        file.flush()
        os.fsync(handle)
        if sys.platform == "win32":  # an open file cannot be renamed there
            file.close()
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove files that a kill in the middle of `write_atomically` left in a run folder, as far as that is possible.

    Files that a live process writes, folders, and what may not be removed are passed over.
    """
    try:
        left = [folder / name for name in os.listdir(folder) if UNFINISHED.fullmatch(name)]
    except OSError:
        return
    for path in left:
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                live = locking.in_use(handle)
            finally:
                os.close(handle)
            if not live:
                os.unlink(path)


def write_error(path: Path, error: OSError | ValueError) -> CheckpointError:
    """Return the error that says why a file could not be written, and what to do."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return CheckpointError(f"disk full while writing {path}; free space and resume: the old content is intact")
    why = getattr(error, "strerror", None) or str(error)
    if number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        return CheckpointError(f"cannot write {path}: {why}; the disk or network drive failed: resume when it answers")
    return CheckpointError(f"cannot write {path}: {why}; choose a folder that you may write to")


def read_error(path: Path, error: OSError) -> CheckpointError:
    """Return the error that says why a file could not be read, and what to do. That says nothing of its content."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return CheckpointError(f"{path} does not exist; is {path.parent} a run folder?")
    advice = "the disk or network drive did not answer: try again; the file itself may well be whole"
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = "you may not read it: ask its owner for permission"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "too many files are open: close some, or raise the limit (ulimit -n)"
    elif error.errno == errno.ELOOP:
        advice = "a link leads back to itself: put the file in its place"
    return CheckpointError(f"cannot read {path}: {error.strerror}; {advice}")


def kind_of(path: Path) -> str:
    """Return what a path is: 'a file', 'a folder', 'a pipe', ...; '' if there is nothing.

    Raises:
        CheckpointError: that cannot be found out, as a folder on the way may not be entered or a drive does not answer.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.islink(path):
            to = os.readlink(path)
            raise CheckpointError(f"{path} is a link to {to}, which is not there; is its drive mounted?") from error
        return ""
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return ""
        raise read_error(path, error) from error
    except ValueError:  # a name that no path can have
        return ""
    return next((kind for test, kind in KINDS.items() if test(mode)), "a file")


def exists(path: Path) -> bool:
    """Return whether there is something at a path.

    Raises:
        CheckpointError: that cannot be found out.
    """
    return kind_of(path) != ""


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Return the content of a file, never waiting for one.

    Args:
        path: the file.
        most: bytes of the largest file that is read; None reads any.

    Raises:
        CheckpointError: there is no file, something else has its name, it may not be read, or it is too large.
    """
    kind = kind_of(path)
    if kind not in ("a file", ""):
        raise CheckpointError(f"{path} is {kind}, where a file should be; put the run's own file in its place")
    try:
        # A pipe that has come in its place meanwhile is not waited for either.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise CheckpointError(f"{path} is no longer a file; put the run's own file in its place")
            if most is not None and facts.st_size > most:
                raise CheckpointError(f"{path} has {facts.st_size} bytes, more than any run writes there; restore it")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(handle)
    except OSError as error:
        raise read_error(path, error) from error
    except MemoryError as error:
        raise CheckpointError(f"{path} does not fit into memory; read it on a larger machine") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        CheckpointError: the file is missing, may not be read, or is not JSON.
    """
    content = read_bytes(path, MOST_JSON)
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path}: it holds no JSON ({error}); restore it from a copy") from error
