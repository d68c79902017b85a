"""Independent pieces of a comparison: as many at once as there are cores, and none twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from quickstudy.storage.checkpoint import write_json

Piece = Callable[[], Any]
"""Can be pickled, and returns JSON."""
MOST = 61
"""Processes at once: Windows can wait for no more."""


def side_by_side(pieces: Mapping[str, Piece], here: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the name of each piece with what it returns, as soon as that is known.

    Args:
        pieces: by name.
        here: in this process, one after the other.
    """
    if here:
        yield from ((name, piece()) for name, piece in pieces.items())
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores(), MOST), context, initializer=_begin) as pool:
        futures = {pool.submit(piece): name for name, piece in pieces.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            # After an error, those that have not begun would run for nothing before it is told.
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """Make a process one of several that work for another."""
    # Small operations gain nothing from threads, whole problems side by side do.
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one it works for is gone; one that was killed could stop nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kept(
    path: Path | None, key: Mapping[str, Any], pieces: Mapping[str, Piece], done: Callable[[int], None], here: bool
) -> dict[str, Any]:
    """Return what each piece returns, by name; what a file holds of them already is not made again.

    Args:
        path: of the file, which is written after each piece; None where pieces keep themselves what they find.
        key: JSON on which the pieces depend; a file with another one counts for nothing.
        pieces: by name.
        done: told how many there are, each time.
        here: as for `side_by_side`.
    """
    key = json.loads(json.dumps({**key, "torch": str(torch.__version__)}))
    found: dict[str, Any] = {} if path is None else _read(path, key)
    done(len(found.keys() & pieces.keys()))
    for name, result in side_by_side({name: piece for name, piece in pieces.items() if name not in found}, here):
        found[name] = json.loads(json.dumps(result))  # as it will be read
        if path is not None:
            write_json(path, {"key": key, "pieces": found})
        done(len(found.keys() & pieces.keys()))
    return {name: found[name] for name in pieces}


def _read(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pieces that a file holds, if it was written with this key."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text())
        return dict(content["pieces"]) if content["key"] == key else {}
    return {}
