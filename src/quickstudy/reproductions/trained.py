"""Trained runs that several rows and plots share, each made once, in as many goes as it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import sys
import time
from pathlib import Path
from typing import TextIO

from quickstudy.checkpoint import read_json, write_json
from quickstudy.recipes.base import Recipe

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


def train(recipe: Recipe, run: Path) -> float:
    """Train into a folder unless that has been done; return the seconds that it took, interruptions left out."""
    kept = read_json(run / TRAINED) if (run / TRAINED).exists() else {"seconds": 0.0, "over": False}
    if kept["over"]:
        return float(kept["seconds"])
    begun = time.monotonic()
    try:
        # Several may train at once: each in lines that say which it is, rather than a bar.
        with contextlib.redirect_stderr(Labelled(f"{run.parent.name}/{run.name}: ", sys.stderr)):
            recipe.train(run)
        kept["over"] = True
    finally:
        kept["seconds"] += time.monotonic() - begun
        if run.is_dir():
            write_json(run / TRAINED, kept)
    return float(kept["seconds"])


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
