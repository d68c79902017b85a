"""The one driver of studies: it plans, tells how far it is, keeps each piece, goes on where it was, and saves.

A study is a plan of pieces that do not depend on each other, and functions from what they found to a table, figures
and a few lines. The driver keeps what each piece returned as soon as it is known. A study that was interrupted begins
with the first piece that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from quickstudy.cli.console import Tick
from quickstudy_studies.shared.cores import Piece, kept
from quickstudy_studies.shared.grid import Grid
from quickstudy_studies.shared.saving import save
from quickstudy_studies.shared.trained import running

Found = dict[str, Any]
"""What pieces returned, by name."""


@dataclass(frozen=True)
class Part:
    """Pieces of a study that do not depend on each other.

    Attributes:
        pieces: by name; each returns JSON.
        key: JSON on which the pieces depend. A file that was written with another key counts for nothing.
        file: of the study's folder, which keeps what the pieces returned; None where pieces keep that themselves.
        here: whether they run in this process, one after the other; else side by side, each on one core.
    """

    pieces: Mapping[str, Piece]
    key: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = "found.json"
    here: bool = True


@dataclass(frozen=True)
class Plan:
    """The course of a study when it is run.

    Attributes:
        parts: run in turn; pieces of a later part may read files that earlier ones left.
        results: what all pieces returned, by name -> the content of results.json.
    """

    parts: Sequence[Part]
    results: Callable[[Found], Any]


@dataclass(frozen=True)
class Study:
    """A comparison that one command runs again: `quickstudy reproduce NAME`.

    Its docstring is that of `plan`, whose first line says in lists what the study is.

    Attributes:
        name: in the catalogue.
        plan: `(folder, quick, seeds) -> Plan`; `quick` asks for a small part, to see that everything works.
        markdown: content of results.json -> table.md.
        summary: content of results.json -> lines that say what came out.
        figures: by the name of the file, without '.png': content of results.json -> figure.
        seeds: repetitions, unless asked otherwise.
        colours: of the figures' files.
    """

    name: str
    plan: Callable[[Path, bool, int], Plan]
    markdown: Callable[[Any], str]
    summary: Callable[[Any], list[str]]
    figures: Mapping[str, Callable[[Any], Figure]] = field(default_factory=dict)
    seeds: int = 3
    colours: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.plan.__doc__)

    def __call__(self, folder: Path, tick: Tick, quick: bool = False, seeds: int | None = None) -> list[str]:
        """Run what is missing, and save what came out.

        Args:
            folder: gets results.json, table.md, the figures, and the files that keep pieces.
            tick: told how many pieces of how many are done.
            quick: a small part.
            seeds: repetitions; the study's own number where None.

        Returns:
            Lines that say what came out.
        """
        plan = self.plan(folder, quick, self.seeds if seeds is None else seeds)
        total, found = sum(len(part.pieces) for part in plan.parts), Found()
        for part in plan.parts:
            path = None if part.file is None else folder / part.file
            told = _after(len(found), total, tick)
            found |= kept(path, part.key, part.pieces, told, part.here)
        # Whether pieces were made now or read again makes no difference to what follows.
        content = json.loads(json.dumps(plan.results(found)))
        drawn = {name: draw(content) for name, draw in self.figures.items()}
        save(folder, content, self.markdown(content), self.colours, **drawn)
        return self.summary(content)


def _after(before: int, total: int, tick: Tick) -> Callable[[int], None]:
    return lambda done: tick(before + done, total)


def of_this_code(**settings: Any) -> dict[str, Any]:
    """Return a part's key: settings, and the version of the code that runs, as another may find other figures."""
    return {**json.loads(json.dumps(settings)), "code": running()}


def of_runs(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of results.json's content that takes its 'runs' alone."""
    return lambda content: function(content["runs"])


def in_runs(pieces: Mapping[str, Piece], depends_on: Mapping[str, Any], **facts: Any) -> Plan:
    """Return the plan of independent runs, the results of which are facts and a list of what they returned.

    Args:
        pieces: the runs, by name.
        depends_on: JSON on which they depend.
        facts: what results.json says besides 'runs'.
    """
    return Plan((Part(pieces, of_this_code(**depends_on)),), lambda found: {**facts, "runs": list(found.values())})


def of_grid(runs: Grid, quick: bool, results: Callable[[dict[str, dict[str, Any]]], Any]) -> Plan:
    """Return the plan of a grid: side by side, each run on one core, unless it is quick or there is a GPU.

    Args:
        runs: the grid.
        quick: whether it is a small part.
        results: what the grid gathered -> the content of results.json.
    """
    part = Part(runs.pieces, of_this_code(**runs.asked), here=quick or torch.cuda.is_available())
    return Plan((part,), lambda found: results(runs.gathered(found)))
