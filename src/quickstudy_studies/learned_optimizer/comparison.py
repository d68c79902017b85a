"""The shipped learned optimiser beside optimisers of torch.optim whose rates are tuned for each problem."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW

from quickstudy import optim, shipped
from quickstudy.storage.checkpoint import write_json
from quickstudy_studies.learned_optimizer.held_out import PROBLEMS
from quickstudy_studies.learned_optimizer.race import GRID, Contender, Track, race
from quickstudy_studies.shared.cores import Piece

LEARNED, TOLD = "learned", "learned, told"
"""The shipped optimiser without anything set, and told the number of steps."""
DEFAULT, COSINE = "Adam 1e-3", "Adam, cosine"
TUNED = ("Adam", "AdamW", "SGD")
"""Tuned for each problem by its own final loss, the median over seeds."""

BASELINES = (
    Contender("Adam", lambda p, lr, steps: Adam(p, lr, fused=True)),
    Contender("AdamW", lambda p, lr, steps: AdamW(p, lr, fused=True)),
    Contender("SGD", lambda p, lr, steps: SGD(p, lr, fused=True)),
    Contender(
        COSINE, lambda p, lr, steps: Adam(p, lr, fused=True), schedule=lambda done: (1 + math.cos(math.pi * done)) / 2
    ),
)
SHIPPED = (
    Contender(LEARNED, lambda p, lr, steps: optim.LearnedOptimizer(p), (1.0,), whole=True),
    Contender(TOLD, lambda p, lr, steps: optim.LearnedOptimizer(p, steps=steps), (1.0,), whole=True),
)
QUICK = {"names": ("iris-deep", "cancer-logistic"), "steps": 4, "seeds": 1, "points": 2}
"""What --quick makes: enough to see that everything works."""


def pieces(folder: Path, quick: bool, seeds: int) -> dict[str, Piece]:
    """Return the runs of all problems, by name, each of which keeps in the folder what it found."""
    names = list(QUICK["names"]) if quick else [each.name for each in PROBLEMS]  # type: ignore[call-overload]
    settings = {"seeds": seeds, "steps": None, "points": 25}
    if quick:
        settings = {name: QUICK[name] for name in settings}  # type: ignore[misc]
    return {name: partial(one, name, folder, settings) for name in names}


def one(name: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Run all optimisers on one problem; what the folder holds of two halves is not made again, each for itself.

    So a new rule that is shipped does not run the others anew.
    """
    problem = next(each for each in PROBLEMS if each.name == name)
    weights = hashlib.sha256((shipped.WEIGHTS / f"{optim.DEFAULT}.safetensors").read_bytes()).hexdigest()
    tracks: dict[str, Any] = {}
    marks: list[int] = []
    for part, contenders, version in (("baselines", BASELINES, ""), (LEARNED, SHIPPED, weights)):
        key = {**settings, "torch": str(torch.__version__), "grid": list(GRID), "weights": version}
        path = folder / "parts" / f"{name}-{part}.json"
        with suppress(OSError, ValueError):
            kept = json.loads(path.read_text())
            if kept["key"] == key:
                marks, tracks = kept["marks"], {**tracks, **kept["tracks"]}
                continue
        marks, made = race(problem, contenders, settings["seeds"], settings["steps"], settings["points"])
        summary = {track.name: summarised(track) for track in made}
        write_json(path, {"key": key, "marks": marks, "tracks": summary})
        tracks.update(summary)
    adam, at = tracks["Adam"], _default(GRID)
    tracks[DEFAULT] = {**adam, "best": at, "final": adam["finals"][at]["median"], "curve": adam["default"]}
    net = problem.net()
    return {
        "name": name,
        "what": problem.what,
        "parameters": sum(p.numel() for p in net.parameters()),
        "rows": len(problem.data()[1]),
        "batch": problem.batch,
        "steps": settings["steps"] or problem.steps,
        "long": problem.long,
        "marks": marks,
        "optimisers": {name: tracks[name] for name in (LEARNED, TOLD, DEFAULT, *TUNED, COSINE)},
    }


def summarised(track: Track) -> dict[str, Any]:
    """Return what is kept of a track: final losses at each rate, the best rate, and its curve. None is divergence."""
    return {
        "rates": list(track.rates),
        "finals": [
            {"median": short(track.final(k)), "seeds": [short(curve[-1]) for curve in track.losses[k]]}
            for k in range(len(track.rates))
        ],
        "best": track.best,
        "final": short(track.final(track.best)),
        "curve": [short(value) for value in track.curve(track.best)],
        "default": [short(value) for value in track.curve(_default(track.rates))],
    }


def _default(rates: Sequence[float]) -> int:
    """Return where Adam's default rate is."""
    return min(range(len(rates)), key=lambda k: abs(rates[k] - 1e-3))


def short(value: float) -> float | None:
    """Return a number of six digits; None in place of infinity, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def final(problem: dict[str, Any], optimiser: str) -> float:
    """Return an optimiser's final loss, infinite if it diverged."""
    value = problem["optimisers"][optimiser]["final"]
    return math.inf if value is None else float(value)


def beaten(problems: Sequence[dict[str, Any]], optimiser: str, by: str = LEARNED) -> list[str]:
    """Return the problems in which one optimiser ends lower than another."""
    return [each["name"] for each in problems if final(each, by) < final(each, optimiser)]
