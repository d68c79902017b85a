"""A row that is the mean of others: one learner for each kind of task, where the kind is told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickstudy.cli.console import Tick
from quickstudy.registry import TABLES, Entry
from quickstudy.storage.checkpoint import write_json
from quickstudy_studies.results.row import Row, measure
from quickstudy_studies.results.row_words import older, summary


def enter_mean(name: str, what: str, rows: Sequence[Row], published: float, source: str) -> None:
    """Enter the mean of rows, whose kinds of task count alike, into the table of reproductions."""

    def reproduce(folder: Path, tick: Tick, quick: bool = False, seeds: int = rows[0].seeds) -> list[str]:
        parts = []
        for i, row in enumerate(rows):
            done = i * seeds
            beside = folder.with_name(row.name)
            parts.append(measure(row, beside, lambda n, _, done=done: tick(done + n, len(rows) * seeds), quick, seeds))  # type: ignore[misc]
        found = {**mean_of(parts), "row": name, "published": published, "source": source}
        write_json(folder / "row.json", found)
        return [summary(found), *older(found)]

    reproduce.__doc__ = what
    TABLES.setdefault("reproduction", {})[name] = Entry(name, reproduce, {"recipe": rows[0].recipe})


def mean_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of row.json for the mean of several, whose tasks and runs have nothing in common."""
    count = len(parts)
    seeds = [
        {
            **each[0],
            "mean": statistics.fmean(part["mean"] for part in each),
            "interval": math.hypot(*(part["interval"] for part in each)) / count,
            "minutes": sum(part["minutes"] for part in each),
        }
        for each in zip(*(part["seeds"] for part in parts), strict=True)
    ]
    return {
        **parts[0],
        "options": {part["row"]: part["options"] for part in parts},
        "steps": sum(part["steps"] for part in parts),
        "mean": statistics.fmean(part["mean"] for part in parts),
        "interval": math.hypot(*(part["interval"] for part in parts)) / count,
        "seeds": seeds,
        "tasks": sum(part["tasks"] for part in parts),
        **{name: ", ".join(sorted({part[name] for part in parts})) for name in ("hardware", "code", "tested_by")},
    }
