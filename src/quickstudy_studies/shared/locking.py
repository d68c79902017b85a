"""One process at a time: a lock of the operating system's on a file, let go when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from quickstudy.storage.locking import TAKEN
from quickstudy.storage.locking import take as _take

SECONDS = 1.0
"""Between one try and the next."""


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file, which stays: to remove it would let two processes each hold one of the same name.

    Args:
        path: of the file, made if need be.
        waiting: called once, if another process holds the lock.

    Raises:
        OSError: the file cannot be locked at all, as on some network file systems.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        told = False
        while True:
            try:
                _take(file.fileno())
                break
            except TAKEN:
                if not told:
                    waiting()
                told = True
                time.sleep(SECONDS)
        yield
