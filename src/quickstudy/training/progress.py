"""Progress of long work: a bar in a terminal, a line below a notebook's cell, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_SECONDS = 20.0
"""Between one line and the next."""


class Progress:
    """Shows nothing; base of the others."""

    def start(self, total: int, done: int) -> None:
        """Begin."""

    def resumed(self, folder: str) -> None:
        """Say that the run of a folder goes on."""

    def advance(self, step: int, loss: float) -> None:
        """Show a step."""

    def validation(self, metric: str, value: float) -> None:
        """Show a validation."""

    def finish(self) -> None:
        """Show how far it came."""


class _Bar(Progress):
    def __init__(self, rich: RichProgress) -> None:
        self.rich = rich

    def start(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.task = self.rich.add_task("meta-training", total=total, completed=done, loss="", val="")

    def resumed(self, folder: str) -> None:
        self.rich.console.print(_resumed(folder, self.done, self.total), markup=False, highlight=False, soft_wrap=True)

    def advance(self, step: int, loss: float) -> None:
        self.rich.update(self.task, completed=step, loss=f"loss {loss:.4f}")

    def validation(self, metric: str, value: float) -> None:
        self.rich.update(self.task, val=f"val {metric} {value:.4f}")


class _Lines(Progress):
    """A line now and then, and one at the end that says what the end is like."""

    every: float | None = None

    def start(self, total: int, done: int) -> None:
        self.total, self.first, self.begun, self.val = total, done, time.monotonic(), ""
        self.shown, self.step, self.loss = self.begun, done, ""

    def resumed(self, folder: str) -> None:
        self.show(_resumed(folder, self.first, self.total))

    def advance(self, step: int, loss: float) -> None:
        self.step, self.loss = step, f", loss {loss:.4f}"
        if time.monotonic() - self.shown >= (LINE_SECONDS if self.every is None else self.every) and step < self.total:
            self._tell()

    def validation(self, metric: str, value: float) -> None:
        self.val = f", val {metric} {value:.4f}"

    def finish(self) -> None:
        if self.step > self.first:
            self._tell()

    def _tell(self) -> None:
        self.shown = time.monotonic()
        left = (self.shown - self.begun) / max(1, self.step - self.first) * (self.total - self.step)
        self.show(f"step {self.step}/{self.total}{self.loss}{self.val}, {left:.0f} s left")

    def show(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Cell(_Lines):
    """One line below a notebook's cell, written anew again and again."""

    every = 0.5

    def __init__(self, display: Any) -> None:
        self.display = display
        self.handle: Any = None
        self.before = ""

    def resumed(self, folder: str) -> None:
        self.before = _resumed(folder, self.first, self.total) + "\n"

    def show(self, line: str) -> None:
        done = round(20 * self.step / self.total)
        text = f"{self.before}meta-training {'█' * done}{'░' * (20 - done)} {line}"
        content = {"text/plain": text}
        if self.handle is None:
            self.handle = self.display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _resumed(folder: str, step: int, total: int) -> str:
    if step >= total:
        return f"going on with the run in {folder}, which has made all of its {step} steps"
    return f"going on with the run in {folder}, from step {step}"


def _notebook() -> Any:
    """Return what shows things below the cell of a notebook, or None where this is none."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display


@contextlib.contextmanager
def open_progress(show: bool) -> Iterator[Progress]:
    """Yield what shows progress in the present kind of output: a terminal, a notebook, a file."""
    if not show:
        yield Progress()
        return
    display = _notebook()
    if display is None and sys.stderr.isatty():
        columns = [
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[val]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn(),
        ]  # fmt: skip
        with RichProgress(*columns, console=Console(stderr=True)) as rich:
            yield _Bar(rich)
        return
    shown = _Lines() if display is None else _Cell(display)
    yield shown
    shown.finish()
