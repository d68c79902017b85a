"""Output of the command: tables on standard output, progress of evaluations on standard error."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from quickstudy.engine.launch import launch
from quickstudy.training.progress import LINE_SECONDS

Tick = Callable[[int, int], None]
"""(done, total) -> None."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> Table:
    """Return a table; `numbers` names the columns that are set flush right."""
    drawn = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        # In a narrow terminal cells are folded, never cut; names stay whole where that leaves room for the rest.
        # (A column's min_width would do so too, but with it rich drops characters of the other columns.)
        whole = i == 0 and len(columns) < 4 and max((len(row[0]) for row in rows), default=0) <= 30
        justify: Literal["right", "left"] = "right" if name in numbers else "left"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=whole)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def show(*parts: Table | str) -> None:
    """Print tables and lines on standard output. In a pipe a table is as wide as need be, so that nothing is cut.

    Where there are several processes, only the first speaks.
    """
    if not launch().first:
        return
    if not sys.stdout.isatty():
        sys.stdout.write(plain(*parts))
        return
    out = Console(file=sys.stdout, highlight=False)
    for part in parts:
        # Lines of text wrap in the terminal itself, so that paths can be copied whole.
        out.print(part if isinstance(part, Table) else Text(part), soft_wrap=not isinstance(part, Table))


def plain(*parts: Table | str) -> str:
    """Return tables and lines as text without colours."""
    text = io.StringIO()
    out = Console(file=text, width=10_000, highlight=False, color_system=None)
    for part in parts:
        out.print(part if isinstance(part, Table) else Text(part), soft_wrap=not isinstance(part, Table))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def say(text: str) -> None:
    """Print a remark on standard error; where there are several processes, only the first does."""
    if launch().first:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def counting(label: str, what: str = "tasks") -> Iterator[Tick]:
    """Yield a function (done, total) that shows progress: a bar in a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty() and launch().first:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as rich:
            bar = rich.add_task(label, total=None)
            yield lambda done, total: rich.update(bar, completed=done, total=total)
        return
    shown = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= LINE_SECONDS:
            shown = time.monotonic()
            say(f"{label}: {done}/{total} {what}")

    yield line
