"""Locks of the operating system's on files: each is let go when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    TAKEN: type[OSError] = PermissionError

    def take(number: int) -> None:
        """Lock an open file by its number; raise TAKEN if another process holds the lock."""
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    TAKEN = BlockingIOError

    def take(number: int) -> None:
        """Lock an open file by its number; raise TAKEN if another process holds the lock."""
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a folder that may be read but not written to."""


class HeldError(Exception):
    """Another process holds a lock; the message names it where it is known."""


class Unlockable(Exception):  # noqa: N818
    """The file system has no locks, as some network drives have none."""


def in_use(number: int) -> bool:
    """Return whether an open file is being written by a live process, or may be, as nobody can tell."""
    if sys.platform == "win32":  # an open file cannot be removed there
        return False
    try:
        take(number)
    except OSError:
        return True
    return False


def mark_in_use(number: int) -> None:
    """Show other processes that this one writes an open file, until it is closed."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            take(number)


def hold(path: Path) -> int:
    """Take a lock by a file that holds the number of this process and the name of its machine.

    Returns:
        The open file's number, to be given to `let_go`.

    Raises:
        HeldError: another process holds it.
        Unlockable: the file system has no locks.
        OSError: the file cannot be made.
    """
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
        try:
            take(number)
            if os.path.samestat(os.fstat(number), os.stat(path)):
                break
        except TAKEN as error:
            holder = _holder(number)
            os.close(number)
            raise HeldError(holder) from error
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(number)
            raise Unlockable(error.strerror) from error
        os.close(number)  # removed by who held it, after this process had opened it
    with contextlib.suppress(OSError):  # a full disk: the lock is held all the same
        os.truncate(number, 0)
        os.write(number, f"{os.getpid()} {socket.gethostname()}\n".encode())
    return number


def let_go(path: Path, number: int) -> None:
    """Remove a lock's file, then let go of it, so that nothing is left behind."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(number)


def _holder(number: int) -> str:
    with contextlib.suppress(OSError):
        process, _, machine = os.read(number, 300).decode("utf-8", "replace").strip().partition(" ")
        if process.isdecimal() and machine.isprintable():
            return f"process {process} on {machine}"
    return "another process"
