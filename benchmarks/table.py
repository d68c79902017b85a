"""Results as a table: in the terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.case import label

Row = dict[str, Any]
HEADS = ("implementation", "median", "quartiles", "speed", "memory", "of peak", "first")
"""Columns; `LEGEND` says what they hold."""
LEGEND = (
    "median and quartiles of the time of one step over interleaved rounds; speed relative to the best rival; "
    "peak memory while stepping, above that of the process with its libraries, data and weights; matrix products and "
    "convolutions a second (the plain loop's count, for everybody) as a share of the machine's measured rate in that "
    "dtype; seconds that the first use took, with compilation"
)


def settings(rows: list[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield title with unit, setting and rows of each setting, in order."""
    for (title, unit, text), group in groupby(rows, lambda r: (r["title"], r["unit"], label(r["setting"]))):
        yield f"{title} ({unit})", text, list(group)


def best_rival(rows: list[Row]) -> float:
    """Return the shortest median of the rivals of one setting, nan without any."""
    return min((row["median"] for row in rows if "median" in row and not row["ours"]), default=math.nan)


def cells(row: Row, rows: list[Row], rates: dict[str, float]) -> list[str]:
    """Return the cells of a row, given those of its setting."""
    if "median" not in row:
        return [row["implementation"], "failed" if "failed" in row else "absent", *[""] * (len(HEADS) - 2)]
    best = best_rival(rows)
    rate = rates.get(row["dtype"])
    share = row["flops"] / row["median"] / rate if row.get("flops") and rate else math.nan
    return [
        row["implementation"],
        duration(row["median"]),
        f"{duration(row['quartiles'][0])} to {duration(row['quartiles'][1])}",
        "" if math.isnan(best) else f"{significant(best / row['median'])}x",
        f"{row['memory'] / 2**20:.0f} MiB",
        "" if math.isnan(share) else f"{share:.0%}",
        duration(row["first_seconds"]),
    ]


def significant(value: float) -> str:
    """Return a positive number with two or three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Return seconds with a unit, in three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.{max(0, 2 - int(math.log10(seconds / size)))}f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def show(content: dict[str, Any], console: Console) -> None:
    """Print everything as one table."""
    environment, rates = content["environment"], content["rates"]
    table = Table(title=heading(environment, rates), caption=LEGEND, title_justify="left", caption_justify="left")
    for head in HEADS:
        table.add_column(head, justify="left" if head == "implementation" else "right")
    previous = ""
    for title, text, rows in settings(content["rows"]):
        if title != previous:
            table.add_section()
            table.add_row(f"[bold]{title}")
            previous = title
        table.add_row(f"[italic]{text}")
        for row in rows:
            table.add_row(*cells(row, rows, rates), style="bold" if row["ours"] else None)
    console.print(table)
    for line in absences(content):
        console.print(line, markup=False)
    for error in content["errors"]:
        console.print(f"error: {error}", style="red", markup=False)


def heading(environment: dict[str, Any], rates: dict[str, float]) -> str:
    """Return one line about the machine."""
    measured = ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items())
    place = environment["device"] if environment["device"] != "cpu" else environment["cpu"]
    return f"{place}, {environment['threads']} threads; matrix products: {measured}"


def markdown(content: dict[str, Any]) -> str:
    """Return the results as Markdown: a table a case."""
    rates, lines, previous = content["rates"], [], ""
    for title, text, rows in settings(content["rows"]):
        if title != previous:
            head, rule = " | ".join(("setting", *HEADS)), "|".join(["---"] * 2 + ["---:"] * (len(HEADS) - 1))
            lines += ["", f"### {title}", "", f"| {head} |", f"|{rule}|"]
            previous = title
        for number, row in enumerate(rows):
            first, *rest = cells(row, rows, rates)
            if "median" not in row:
                continue  # who took no part is said below the tables
            name = f"**{first}**" if row["ours"] else first
            lines.append(f"| {text if number == 0 else ''} | {name} | {' | '.join(rest)} |")
    return "\n".join(lines).strip()


def absences(content: dict[str, Any]) -> list[str]:
    """Return who took no part, where, and why, one line each."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in content["rows"]:
        why = row.get("absent") or row.get("failed")
        if why:
            key = (row["implementation"], why.strip().splitlines()[0])
            found.setdefault(key, []).append(f"{row['case']}: {label(row['setting'])}")
    return [
        f"{name} ({where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''}): {why}"
        for (name, why), where in found.items()
    ]
