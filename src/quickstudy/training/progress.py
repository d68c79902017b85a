"""Progress of long work, on standard error: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_SECONDS = 20.0


class Progress:
    """Shows nothing; base of the others."""

    def start(self, total: int, done: int) -> None:
        """Begin."""

    def advance(self, step: int, loss: float) -> None:
        """Show a step."""

    def validation(self, metric: str, value: float) -> None:
        """Show a validation."""


class _Bar(Progress):
    def __init__(self, rich: RichProgress) -> None:
        self.rich = rich

    def start(self, total: int, done: int) -> None:
        self.task = self.rich.add_task("meta-training", total=total, completed=done, loss="", val="")

    def advance(self, step: int, loss: float) -> None:
        self.rich.update(self.task, completed=step, loss=f"loss {loss:.4f}")

    def validation(self, metric: str, value: float) -> None:
        self.rich.update(self.task, val=f"val {metric} {value:.4f}")


class _Lines(Progress):
    def start(self, total: int, done: int) -> None:
        self.total, self.first, self.begun, self.shown, self.val = total, done, time.monotonic(), time.monotonic(), ""

    def advance(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.shown < LINE_SECONDS and step < self.total:
            return
        self.shown = now
        left = (now - self.begun) / max(1, step - self.first) * (self.total - step)
        print(f"step {step}/{self.total}, loss {loss:.4f}{self.val}, {left:.0f} s left", file=sys.stderr, flush=True)

    def validation(self, metric: str, value: float) -> None:
        self.val = f", val {metric} {value:.4f}"


@contextlib.contextmanager
def open_progress(show: bool) -> Iterator[Progress]:
    """Yield what shows progress in the present kind of output."""
    if not show:
        yield Progress()
    elif sys.stderr.isatty():
        columns = [
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[val]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn(),
        ]  # fmt: skip
        with RichProgress(*columns, console=Console(stderr=True)) as rich:
            yield _Bar(rich)
    else:
        yield _Lines()
