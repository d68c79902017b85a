"""Accuracy by presentation of a class, of every row of the results that is measured on sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, MARKERS, styled
from quickstudy_studies.driver import Part, Plan, Study, of_this_code
from quickstudy_studies.results.other_rows import OTHERS
from quickstudy_studies.results.results_tables import curves, presentations
from quickstudy_studies.results.row import Row, measure
from quickstudy_studies.shared.cores import Piece
from quickstudy_studies.shared.grid import QUICK

PRESENTATION = 2
"""Which of the two rows of each learner is measured; either has the whole curve."""
LONG = ("omniglot-protonet",)
"""Recipes that are trained as long as their papers'; the others train for minutes on a CPU, with --quick."""


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Accuracy by presentation of a class, of every learner of the results that is measured on sequences.

    Args:
        folder: gets results.json, table.md and sequences.png. Each row has a folder beside it, and the runs lie in
            `trained/` there, where the rows of the results find them too.
        quick: two steps, few sequences.
        seeds: repetitions.
    """
    rows = [row for row in OTHERS if row.presentation == PRESENTATION]
    pieces: dict[str, Piece] = {row.name: partial(one, row, folder, quick, seeds) for row in rows}
    # A row trains its own repetitions side by side.
    return Plan((Part(pieces, of_this_code(quick=quick, seeds=seeds)),), lambda found: list(found.values()))


def one(row: Row, folder: Path, quick: bool, seeds: int) -> dict[str, Any]:
    """Return what a row measures; its runs are trained unless that has been done."""
    if quick:
        options = {**row.options, **QUICK}
        row = dataclasses.replace(row, options=options, small={}, tasks=2)
    small = not quick and row.recipe not in LONG
    return measure(row, folder.with_name(row.name), lambda done, total: None, small, seeds)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return accuracies in per cent by presentation."""
    return presentations(rows)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table's lines."""
    return markdown(rows).splitlines()


@styled
def figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a line for each learner, and the published figures as crosses.

    Args:
        rows: contents of row.json.
    """
    drawn = Figure(figsize=(6.4, 3.6))
    axes: Any = drawn.add_subplot()
    for i, (name, row) in enumerate(curves(rows).items()):
        accuracy = [100 * value for value in row["presentations"]]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.plot(range(1, len(accuracy) + 1), accuracy, color=colour, marker=marker, markersize=4, label=name)
    known = published(rows)
    if known:
        percent = [100 * value for value in known.values()]
        axes.plot(list(known), percent, "x", color=GREY, markersize=8, markeredgewidth=2, label="MANN, published")
    axes.set_xticks(range(1, 11))
    axes.set(ylim=(0, 102), xlabel="presentation of a class", ylabel="% right")
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.55), ncols=2, fontsize=8)
    return drawn


def published(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the published figures of what was measured, by presentation: those of all rows of the same learners."""
    recipes = {row["recipe"] for row in rows}
    return {
        row.presentation: row.published
        for row in OTHERS
        if row.presentation and row.published is not None and row.recipe in recipes
    }


sequences = Study("sequences", plan, markdown, summary, {"sequences": figure}, seeds=1)
