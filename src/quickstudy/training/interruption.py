"""Ctrl-C and SIGTERM, taken between two steps."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from quickstudy.functional.names import for_terminal


@contextlib.contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying in the middle of a step; a second one ends at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    old: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        old[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def end_by(number: int, folder: Path | None) -> None:
    """Say where the run was saved and end as the signal asked."""
    if folder is not None:
        print(
            f"Interrupted; saved to {for_terminal(str(folder))}. The same command goes on from there.", file=sys.stderr
        )
    if number == signal.SIGTERM:
        raise SystemExit(143)
    raise KeyboardInterrupt
