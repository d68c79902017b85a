"""The log of a run, metrics.csv: a line (step, name, value) for each number, in order of steps.

It is the only place where the history of a run is kept. Lines are added as training goes on, and checkpoints say how
many steps of it count: what a kill left beyond them is cut off when the run goes on.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

from quickstudy.storage.files import exists, read_bytes, write_atomically, write_error

Row = dict[str, float]
"""'step', and values by name: those of a step of training, or those of a validation."""
HEADER = b"step,name,value\r\n"


def text(rows: list[Row]) -> str:
    """Return rows as lines of the log."""
    lines = io.StringIO()
    cells = [[row["step"], name, value] for row in rows for name, value in row.items() if name != "step"]
    csv.writer(lines).writerows(cells)
    return lines.getvalue()


def write(path: Path, rows: list[Row]) -> None:
    """Write a whole log.

    Raises:
        CheckpointError: it cannot be written.
    """
    write_atomically(path, HEADER + text(rows).encode())


def append(path: Path, row: Row) -> None:
    """Add a row.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        # Never waits, not even where a pipe has the log's name.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
        try:
            os.write(handle, text([row]).encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise write_error(path, error) from error


def settle(path: Path) -> None:
    """Return when all that was added lies on the disk, so that a checkpoint can rely on it."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path) -> tuple[list[Row], int]:
    """Return the rows of a log, and how many of its lines are damaged. Without a log there are no rows.

    Raises:
        CheckpointError: it may not be read.
    """
    if not exists(path):
        return [], 0
    lines, damaged = _parsed(read_bytes(path))
    return _rows(lines), damaged


def until(path: Path, step: int, cut: bool) -> tuple[list[Row], int]:
    """Return the rows of a log until a step, and how many lines before it are damaged or gone.

    Args:
        path: the log.
        step: the last step that counts.
        cut: remove from the file what came after, and what is damaged.

    Raises:
        CheckpointError: the log may not be read, or not be written where there is something to cut.
    """
    content = read_bytes(path) if exists(path) else b""
    lines, damaged = _parsed(content)
    kept = [line for line in lines if line.step <= step]
    whole = b"".join([HEADER, *(line.raw for line in kept)])
    if cut and whole != content:
        write_atomically(path, whole)
    return _rows(kept), damaged


class _Line(NamedTuple):
    raw: bytes
    step: int
    name: str
    value: float


def _parsed(content: bytes) -> tuple[list[_Line], int]:
    """Return what lines hold, and how many hold nothing. That a kill has torn the last one is no harm."""
    first, *rest = content.splitlines(keepends=True) or [b""]
    whole = [line for line in rest if line.endswith(b"\n")]
    found = [line for line in map(_line, whole) if line is not None]
    return found, (first != HEADER) + len(whole) - len(found)


def _line(raw: bytes) -> _Line | None:
    try:
        step, name, value = next(csv.reader([raw.decode()]))
        number = float(value)
        return _Line(raw, int(step), name, int(value) if value.isdecimal() else number) if name.isprintable() else None
    except (ValueError, csv.Error, StopIteration):
        return None


def _rows(lines: list[_Line]) -> list[Row]:
    """Return lines by step. The numbers of a validation are a row of their own."""
    rows: list[Row] = []
    for line in lines:
        last = rows[-1] if rows else {}
        kind = _validates(line.name) == any(map(_validates, last))
        if not kind or last.get("step") != line.step or line.name in last:
            rows.append({"step": line.step})
        rows[-1][line.name] = line.value
    return rows


def _validates(name: str) -> bool:
    return name.startswith("validation_")


def check(rows: object) -> list[Row] | None:
    """Return the rows that an old checkpoint holds, or None if they are no rows of a log."""
    if not isinstance(rows, list):
        return None
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            return None
        if not all(isinstance(name, str) and _is_number(value) for name, value in row.items()):
            return None
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
