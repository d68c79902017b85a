"""The page of results: tables of rows that were measured, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quickstudy.reproductions.omniglot_rows import METHODS, SETTINGS
from quickstudy.reproductions.row import shown

Found = Mapping[str, Any]

HEAD = """\
Every figure here was written by `quickstudy reproduce NAME`, with the row's name, from runs that the version and commit
that is named trained, each on one core or on a GPU. Means are over seeds and test tasks; ± is the half-width of the
95 % interval for new tasks and new seeds. Test tasks are the same in every row of a table. The published figure stands
beside it where there is one. Minutes are of machines that may have done other work meanwhile.
"""


def page(rows: Iterable[Found]) -> str:
    """Return the page's generated part."""
    known = {(row["row"], row["quick"]): row for row in rows}
    names = {row["row"] for row in known.values()}
    ours = [name for method in METHODS for name in (f"{method.recipe}{method.suffix}-{each}" for each in SETTINGS)]
    parts = [HEAD.strip()]
    for quick, title in ((False, "## Omniglot"), (True, "## Omniglot, in minutes on two cores")):
        few_shot = [known[name, quick] for name in ours if (name, quick) in known]
        if few_shot:
            parts += [title, _grid(few_shot, quick), _details(few_shot)]
    others = [row for (name, _), row in sorted(known.items()) if name not in ours]
    if others:
        parts += ["## Other rows", _list(others), _details(others)]
    if not names:
        parts.append("No row has been measured yet.")
    return "\n\n".join(parts)


def _grid(rows: Sequence[Found], quick: bool) -> str:
    """Return methods by settings, with the published figures in brackets."""
    known = {row["row"]: row for row in rows}
    lines = ["| % right | " + " | ".join(_words(each) for each in SETTINGS) + " |", "|---|" + "---|" * len(SETTINGS)]
    for method in METHODS:
        cells = []
        for setting in SETTINGS:
            row = known.get(f"{method.recipe}{method.suffix}-{setting}")
            published = method.published.get(setting)
            beside = "" if published is None else f" ({published:g})"
            cells.append("" if row is None else f"{100 * row['mean']:.1f} ± {100 * row['interval']:.1f}{beside}")
        if any(cells):
            lines.append(f"| {method.label} | " + " | ".join(cells) + " |")
    nearest = {row["row"].rpartition("-")[2]: row["nearest_neighbour"] for row in rows}
    cells = ["" if nearest.get(each) is None else f"{100 * nearest[each]:.1f}" for each in SETTINGS]
    lines.append("| Nearest neighbour on pixels | " + " | ".join(cells) + " |")
    command = "quickstudy reproduce NAME-SETTING" + (" --quick" if quick else "")
    return "\n".join(lines) + f"\n\nIn brackets: published. `{command}`, with names and settings as below."


def _list(rows: Sequence[Found]) -> str:
    lines = ["| row | metric | here | published | source |", "|---|---|---|---|---|"]
    for row in rows:
        name = f"`{row['row']}`" + (" (`--quick`)" if row["quick"] else "")
        here = f"{shown(row['mean'], row['metric'])} ± {shown(row['interval'], row['metric'])}"
        published = "" if row["published"] is None else shown(row["published"], row["metric"])
        lines.append(f"| {name} | {row['metric']} | {here} | {published} | {row['source']} |")
    return "\n".join(lines)


def _details(rows: Sequence[Found]) -> str:
    """Return how each row was made."""
    lines = [
        "| row | outer steps | seeds | tasks | batch norm | gap to training classes | minutes a seed | on |"
        " trained by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        minutes = [each["minutes"] for each in row["seeds"]]
        gap = "" if row["overfitting_gap"] is None else shown(row["overfitting_gap"], row["metric"])
        name = f"`{row['row']}`" + (" (`--quick`)" if row["quick"] else "")
        lines.append(
            f"| {name} | {row['steps']:,} | {len(minutes)} | {row['tasks']:,} | {row['batch_norm']} | {gap} "
            f"| {sum(minutes) / len(minutes):.1f} | {row['hardware']} | {row['code']} |"
        )
    notes = {f"{row['departures']}. Chosen on {row['chosen_on']}.": None for row in rows if row["departures"]}
    return "\n".join([*lines, "", *(f"- Departures: {note}" for note in notes)])


def _words(setting: str) -> str:
    ways, shots = SETTINGS[setting]
    return f"{ways}-way {shots}-shot"
