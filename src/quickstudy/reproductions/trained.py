"""Trained runs that several rows and plots share, each made once, in as many goes as it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import torch

from quickstudy.checkpoint import read_json, write_json
from quickstudy.hardware import processor
from quickstudy.recipes.base import Recipe
from quickstudy.reproductions.locking import alone

TRAINED = "trained.json"
"""In a run folder: that training is over, and how long it took."""


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
        kept = read_json(run / TRAINED) if (run / TRAINED).exists() else {"seconds": 0.0, "over": False}
        if kept["over"]:
            return dict(kept)
        begun = time.monotonic()
        try:
            recipe.train(run)
            kept["over"] = True
        finally:
            kept["seconds"] += time.monotonic() - begun
            kept["hardware"] = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
            kept["code"] = running()
            if run.is_dir():
                write_json(run / TRAINED, kept)
        return dict(kept)


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


def running() -> str:
    """Return the version and commit of the code that runs."""
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
