"""The command's output: tables on standard output, progress of evaluations on standard error."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from quickstudy.engine.launch import launch
from quickstudy.functional.names import for_terminal
from quickstudy.training.progress import LINE_SECONDS

Tick = Callable[[int, int], None]
"""A function (done, total) -> None that is told about progress."""


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = (), narrow: bool = True
) -> Table:
    """Return a table. Cells are shown, never obeyed.

    Args:
        columns: their names.
        rows: cells, as many in each row as there are columns.
        numbers: names of the columns that are set flush right.
        narrow: whether it may be shown in a narrow terminal; otherwise names in the first column are never folded.
    """
    columns, rows = [for_terminal(name) for name in columns], [[for_terminal(cell) for cell in row] for row in rows]
    numbers = [for_terminal(name) for name in numbers]
    drawn = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        # In a narrow terminal cells are folded, never cut; names stay whole where that leaves room for the rest.
        # (A column's min_width would do so too, but with it rich drops characters of the other columns.)
        whole = i == 0 and (len(columns) < 4 or not narrow) and max((len(row[0]) for row in rows), default=0) <= 30
        justify: Literal["right", "left"] = "right" if name in numbers else "left"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=whole)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def show(*parts: Table | str, width: int | None = None) -> None:
    """Print tables and lines on standard output. In a pipe a table is as wide as it must be, so that nothing is cut.

    With several processes, only the first prints. Each part is one line, in which control characters are escapes.

    Args:
        parts: tables of `table`, and lines.
        width: most columns of a table in a pipe; None is as many as it needs.
    """
    if not launch().first:
        return
    if sys.stdout.isatty():
        # Lines of text wrap in the terminal itself, so that paths can be copied whole.
        size = Console(file=sys.stdout).size
        write(_drawn(parts, _encoding(), width=size.width, height=size.height, force_terminal=True))
    else:
        write(plain(*parts, encoding=_encoding(), width=width))


def plain(*parts: Table | str, encoding: str = "utf-8", width: int | None = None) -> str:
    """Return tables and lines as text without colours; where the encoding lacks a character, there is an escape."""
    text = _drawn(parts, encoding, width=width or 10_000, color_system=None)
    return "".join(f"{line.rstrip()}\n" for line in text.split("\n")[:-1])


def _drawn(parts: Sequence[Table | str], encoding: str, **options: Any) -> str:
    content = io.BytesIO()
    out = io.TextIOWrapper(content, encoding, errors="backslashreplace", newline="\n", write_through=True)
    console = Console(file=out, highlight=False, **options)
    for part in parts:
        is_line = isinstance(part, str)
        console.print(Text(for_terminal(part)) if isinstance(part, str) else part, soft_wrap=is_line)
    return content.getvalue().decode(encoding)


def write(text: str) -> None:
    """Write text on standard output; what its encoding lacks becomes an escape."""
    encoding = _encoding()
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def say(text: str) -> None:
    """Print a remark on standard error, in one line. With several processes, only the first prints."""
    if launch().first:
        print(for_terminal(text), file=sys.stderr, flush=True)


@contextlib.contextmanager
def counting(label: str, what: str = "tasks") -> Iterator[Tick]:
    """Yield a function (done, total) that shows progress: a bar in a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty() and launch().first:
        # Names of runs are no markup.
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        ]
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as rich:
            bar = rich.add_task(for_terminal(label), total=None)
            yield lambda done, total: rich.update(bar, completed=done, total=total)
        return
    shown = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= LINE_SECONDS:
            shown = time.monotonic()
            say(f"{label}: {done}/{total} {what}")

    yield line
