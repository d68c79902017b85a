"""Trained runs that several rows and plots share, each made once, in as many goes as it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import torch

from quickstudy.engine.hardware import processor
from quickstudy.recipes.base import Recipe
from quickstudy.storage.checkpoint import read_json, write_json
from quickstudy_studies.shared.locking import alone

TRAINED = "trained.json"
"""In a run folder: that training is over, and how long it took."""
SECONDS = 30.0
"""Between one note of the time and the next."""


def place(recipe: Recipe, varies: str, folder: Path) -> Path:
    """Return where a repetition is trained: beside a row's folder, by its options, so that rows can share it.

    Args:
        recipe: with the options of the repetition.
        varies: the option that numbers repetitions.
        folder: of the row.
    """
    return folder.parent / "trained" / f"{recipe.name}-{_digest(recipe, varies)}" / f"{varies}{getattr(recipe, varies)}"


def train(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Train into a folder unless that has been done; return what is known of it.

    While another process trains into the same folder, this one waits.

    Returns:
        'seconds' that it took, interruptions left out, and 'hardware' and 'code' (version, commit) that it ran on, all
        kept in the folder.
    """
    label = f"{run.parent.name}/{run.name}: "
    # Several may train at once: each in lines that say which it is, rather than a bar.
    with contextlib.redirect_stderr(Labelled(label, sys.stderr)), alone(_lock(run), lambda: _tell(run)):
        fresh: dict[str, Any] = {"seconds": 0.0, "over": False}
        kept = read_json(run / TRAINED) if (run / TRAINED).exists() else fresh
        if kept["over"]:
            return dict(kept)
        here = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
        for what, now in (("hardware", here), ("code", running())):
            # Of all goes; the code is that which this one began with.
            kept[what] = ", ".join(sorted({*filter(None, kept.get(what, "").split(", ")), now}))
        with _timed(run, kept):
            recipe.train(run)
            kept["over"] = True
        return dict(kept)


@contextlib.contextmanager
def _timed(run: Path, kept: dict[str, Any]) -> Iterator[None]:
    """Keep in a run folder how many seconds have passed, from time to time, so that a kill loses few."""
    begun, before, over = time.monotonic(), kept["seconds"], threading.Event()

    def write() -> None:
        kept["seconds"] = before + time.monotonic() - begun
        if run.is_dir():
            write_json(run / TRAINED, kept)

    def go_on() -> None:
        while not over.wait(SECONDS):
            with contextlib.suppress(OSError):  # the last one tells
                write()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        write()


def _lock(run: Path) -> Path:
    """Return the lock's file, which lies beside the folder: one may delete that to train anew."""
    return run.with_name(f"{run.name}.lock")


def _tell(run: Path) -> None:
    print(f"waiting: another process trains into {run}", file=sys.stderr)


class Labelled(io.TextIOBase):
    """Writes each line with a label before it; it is no terminal."""

    def __init__(self, label: str, to: TextIO) -> None:
        self.label, self.to, self.begun = label, to, ""

    def write(self, text: str) -> int:
        """Write whole lines; keep what is begun."""
        *lines, self.begun = (self.begun + text).split("\n")
        self.to.writelines(f"{self.label}{line}\n" for line in lines)
        return len(text)

    def flush(self) -> None:
        """Write what is not written yet."""
        self.to.flush()


def _digest(recipe: Recipe, varies: str) -> str:
    """Return a name of a recipe's options but for the one that varies, each value of which has a folder of its own."""
    options = {name: value for name, value in dataclasses.asdict(recipe).items() if name != varies}
    return hashlib.blake2b(json.dumps(options, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()


@functools.cache
def running() -> str:
    """Return the version and commit of the code that runs: as they were when this was first asked for."""
    return " ".join(filter(None, (_version(), _commit())))


def _version() -> str:
    try:
        return version("quickstudy")
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str | None:
    """Return the commit of the checkout that this package is run from, with a plus sign where files differ from it."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", os.fspath(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
