"""Tables of the page of results, each made of the contents of row.json files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from quickstudy.evaluation import find_metric
from quickstudy.registry import lookup
from quickstudy_studies.results.omniglot_rows import METHODS, ROWS, SETTINGS
from quickstudy_studies.results.other_rows import OTHERS
from quickstudy_studies.results.papers import length
from quickstudy_studies.results.row_words import shown

Found = Mapping[str, Any]
CLEARLY = 0.005
"""By how much an accuracy may be below the published one, however wide its interval, before a page lists it."""


def name(row: Found) -> str:
    """Return a row's name, and whether its setting is that of minutes."""
    return f"`{row['row']}`" + (" `--quick`" if row["quick"] else "")


def grid(rows: Sequence[Found]) -> str:
    """Return methods by settings, with the published figures in brackets."""
    known = {row["row"]: row for row in rows}
    titles = [f"{ways}-way {shots}-shot" for ways, shots in SETTINGS.values()]
    lines = [_line("% right", *titles), _line(*["---"] * (1 + len(SETTINGS)))]
    for method in METHODS:
        found = [known.get(f"{method.recipe}{method.suffix}-{setting}") for setting in SETTINGS]
        if any(found):
            lines.append(_line(method.label, *("" if row is None else _percent(row) for row in found)))
    nearest = {row["row"].rpartition("-")[2]: row["nearest_neighbour"] for row in rows}
    cells = ["" if nearest.get(each) is None else f"{100 * nearest[each]:.1f}" for each in SETTINGS]
    return "\n".join([*lines, _line("Nearest neighbour on pixels", *cells)])


def figures(rows: Sequence[Found]) -> str:
    """Return a line for each row: its figure, the published one, and that of nearest neighbour on the same tasks."""
    cells = []
    for row in rows:
        metric, nearest = row["metric"], row["nearest_neighbour"]
        here = f"{shown(row['mean'], metric)} ± {shown(row['interval'], metric)}"
        published = "" if row["published"] is None else shown(row["published"], metric)
        cells.append(
            [name(row), metric, here, published, row["source"], "" if nearest is None else shown(nearest, metric)]
        )
    return _table(["row", "metric", "here", "published", "source", "nearest neighbour on pixels"], cells)


def folds(rows: Sequence[Found]) -> str:
    """Return the error of each fold, of the rows that have some."""
    own = [row for row in rows if "fold" in row["seeds"][0]]
    numbers = sorted({each["fold"] for row in own for each in row["seeds"]})
    lines = [_line("% wrong", *(f"fold {i}" for i in numbers)), _line(*["---"] * (1 + len(numbers)))]
    for row in own:
        cells = {
            each["fold"]: f"{100 * (1 - each['mean']):.1f} ± {100 * each['interval']:.1f}" for each in row["seeds"]
        }
        lines.append(_line(name(row), *(cells.get(i, "") for i in numbers)))
    return "" if not own else "\n".join(lines)


CELLS = {"RecurrentLearner": "LSTM"}
"""What papers call a learner that has the name of its kind here."""


def curves(rows: Sequence[Found]) -> dict[str, Found]:
    """Return one row of each run on sequences, by the learner's name in papers."""
    rows = [row for row in rows if row.get("presentations")]
    found = {(CELLS.get(row["learner"], row["learner"]), row["quick"]): row for row in rows}
    return {learner + " --quick" * quick: row for (learner, quick), row in sorted(found.items())}


def presentations(rows: Sequence[Found]) -> str:
    """Return the accuracy at each presentation, of each run once."""
    runs = curves(rows)
    if not runs:
        return ""
    most = max(len(row["presentations"]) for row in runs.values())
    lines = [_line("% right at presentation", *map(str, range(1, most + 1))), _line(*["---"] * (1 + most))]
    for label, row in runs.items():
        lines.append(_line(label, *(f"{100 * value:.1f}" for value in row["presentations"])))
    return "\n".join(lines)


def making(rows: Sequence[Found]) -> str:
    """Return how each row was made: how long beside its paper, by what, and in letters what was chosen on what."""
    notes: dict[str, str] = {}
    quick = any(row["quick"] for row in rows)
    titles = ["row", "against published", "outer steps x tasks", "without `--quick`", "in the paper", "minutes a run"]
    titles += [
        "runs",
        "test tasks",
        "batch norm",
        "gap to training classes",
        "machine",
        "trained by",
        "tested by another",
    ]
    titles += ["notes"]
    cells = []
    for row in rows:
        departures = f" Departures: {row['departures']}." if row["departures"] else ""
        note = f"Chosen on {row['chosen_on']}.{departures}"
        letter = notes.setdefault(note, _letter(len(notes)))
        minutes = [each["minutes"] for each in row["seeds"]]
        gap = "" if row["overfitting_gap"] is None else shown(row["overfitting_gap"], row["metric"])
        paper = length(row)
        line = [name(row), against(row), _long(row["steps"], tasks_a_step(row)), _whole(row) if quick else ""]
        line += [_long(*paper) if paper else "", f"{statistics.median(minutes):.1f}", str(len(minutes))]
        line += [f"{row['tasks']:,}", row["batch_norm"], gap, row["hardware"], row["code"]]
        tested = row.get("tested_by", row["code"])
        cells.append([*line, tested if tested != row["code"] else "", letter])
    return "\n".join([_table(titles, cells), "", *(f"- {letter}: {note}" for note, letter in notes.items())])


def shortfalls(rows: Sequence[Found]) -> str:
    """Return what is clearly worse than published, by how much, and how much shorter it trained."""
    told = []
    for row in rows:
        clearly = CLEARLY if find_metric(row["metric"]).is_share else math.inf
        if against(row) and behind(row) > min(row["interval"], clearly):
            paper = length(row)
            share = paper[0] * paper[1] / (row["steps"] * tasks_a_step(row)) if paper else 0
            shorter = f", trained on 1/{share:.0f} of the paper's tasks" if share >= 1.5 else ""
            told.append(f"- {name(row)}: {against(row)}{shorter}.")
    title = f"Worse than published by more than ±, or by {100 * CLEARLY:g} points:"
    return "\n".join([title, "", *told]) if told else ""


def failures(rows: Sequence[Found]) -> str:
    """Return what hardly learned: rows that are below nearest neighbour on pixels."""
    below = [name(row) for row in rows if row["mean"] < (row["nearest_neighbour"] or 0)]
    return f"Below nearest neighbour on pixels, so hardly trained: {', '.join(below)}." if below else ""


def behind(row: Found) -> float:
    """Return by how much a figure is worse than the published one; negative where it is better."""
    return find_metric(row["metric"]).gain(float(row["published"]), float(row["mean"]))


def against(row: Found) -> str:
    """Return in words how a figure compares with the published one."""
    if row["published"] is None or not row.get("comparable", True):
        return ""
    by = abs(behind(row))
    amount = f"{100 * by:.1f} points" if find_metric(row["metric"]).is_share else f"{by:.3f}"
    if float(amount.split()[0]) == 0:
        return "as published"
    within = " (within ±)" if by <= row["interval"] else ""
    return f"{'worse' if behind(row) > 0 else 'better'} by {amount}{within}"


def tasks_a_step(row: Found) -> int:
    """Return the tasks of an outer step."""
    if "meta_batch" in row:
        return int(row["meta_batch"])
    return int(lookup("recipe", row["recipe"]).build(**row["options"]).meta_batch)


def _whole(row: Found) -> str:
    """Return how long a row trains in its full setting."""
    recipes = [each.make(0, quick=False) for each in ROWS + OTHERS if each.name == row["row"]]
    return _long(recipes[0].steps, recipes[0].meta_batch) if recipes else ""


def _percent(row: Found) -> str:
    beside = "" if row["published"] is None else f" ({100 * row['published']:.4g})"
    return f"{100 * row['mean']:.1f} ± {100 * row['interval']:.1f}{beside}"


def _long(steps: int, tasks: int) -> str:
    return f"{steps:,} x {tasks}"


def _letter(number: int) -> str:
    return ascii_lowercase[number] if number < 26 else _letter(number // 26 - 1) + _letter(number % 26)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns that are empty throughout."""
    used = [i for i in range(len(titles)) if any(row[i] for row in rows)]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(_line(*(line[i] for i in used)) for line in lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
