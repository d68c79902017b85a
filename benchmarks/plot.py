"""Results as pictures: times and memory of each setting, and growth curves."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.case import label
from benchmarks.table import duration

Row = dict[str, Any]
OURS, RIVALS = "tab:blue", "tab:gray"
COLOURS = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]


def draw(content: dict[str, Any], folder: Path) -> list[Path]:
    """Write the plots of a run; return their paths."""
    timed = [row for row in content["rows"] if "median" in row]
    points = [row for row in timed if "axis" in row["setting"]]
    bars = [row for row in timed if "axis" not in row["setting"]]
    paths = []
    for name, rows, picture in (("times.png", bars, _times), ("growth.png", points, _growth)):
        if rows:
            figure = picture(rows)
            figure.savefig(folder / name, dpi=110, metadata={"Software": None})
            plt.close(figure)
            paths.append(folder / name)
    return paths


def _colours(rows: list[Row]) -> dict[str, Any]:
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def _times(rows: list[Row]) -> Any:
    cases = [(title, list(group)) for title, group in groupby(rows, lambda row: row["title"])]
    heights = [0.9 + 0.2 * len(group) for _, group in cases]
    figure, axes = plt.subplots(
        len(cases), 2, figsize=(12, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for (title, group), (left, right) in zip(cases, axes, strict=True):
        places = range(len(group))
        paint = [OURS if row["ours"] else RIVALS for row in group]
        for place, row, colour in zip(places, group, paint, strict=True):
            left.plot(row["quartiles"], [place, place], color=colour, linewidth=3, alpha=0.4)
            left.plot(row["median"], place, "o", color=colour)
        right.barh(places, [row["memory"] / 2**20 for row in group], color=paint, height=0.8)
        left.set_xscale("log")
        left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.xaxis.set_major_formatter(lambda value, position: duration(value))
        left.xaxis.set_minor_formatter(NullFormatter())
        left.tick_params(axis="x", labelsize=7)
        labels = [f"{row['implementation']} · {label(row['setting'])}" for row in group]
        left.set_yticks(places, labels, fontsize=7)
        right.set_yticks(places, [""] * len(group))
        for axis, text in ((left, f"time of one step ({group[0]['unit']})"), (right, "peak memory, MiB")):
            axis.invert_yaxis()
            axis.set_xlabel(text, fontsize=8)
            axis.grid(axis="x", alpha=0.3)
        left.set_title(title, fontsize=9, loc="left")
    return figure


def _growth(rows: list[Row]) -> Any:
    axes_of = [(axis, list(group)) for axis, group in groupby(rows, lambda row: row["setting"]["axis"])]
    figure, axes = plt.subplots(2, len(axes_of), figsize=(3.4 * len(axes_of), 5.5), squeeze=False, layout="constrained")
    colours = _colours(rows)
    for (axis, group), upper, lower in zip(axes_of, *axes, strict=True):
        for name, colour in colours.items():
            own = [row for row in group if row["implementation"] == name]
            x = [row["setting"][axis] for row in own]
            upper.plot(x, [row["median"] for row in own], "o-", color=colour, label=name)
            lower.plot(x, [row["memory"] / 2**20 for row in own], "o-", color=colour)
        for each, text in ((upper, "seconds an outer step"), (lower, "peak memory, MiB")):
            each.set(xscale="log", yscale="log", xlabel=axis, ylabel=text)
            values = sorted({row["setting"][axis] for row in group})
            each.set_xticks(values, [str(value) for value in values])
            each.xaxis.set_minor_locator(NullLocator())
            each.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            each.yaxis.set_major_formatter("{x:g}")
            each.yaxis.set_minor_formatter(NullFormatter())
            each.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.suptitle(rows[0]["title"], fontsize=10)
    return figure
