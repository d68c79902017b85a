"""The figures of reports, drawn by matplotlib without a window, as SVG in the page's light or dark colours."""

from __future__ import annotations

import contextlib
import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from quickstudy.evaluation import Report, find_metric
from quickstudy.functional.names import for_plot
from quickstudy.registry import table as registry_table

INK, LINE = "#22252b", "#c9ced7"
"""Stand-ins for the page's colours of text and of lines; in a file of its own they are what they say."""
COLOURS = ("#3a7fc1", "#dd8420", "#2f9c6a", "#cf4658", "#8660cf", "#1f9fb4", "#a5783b", "#c65aa4")
GREY, BAD = "#8d929b", COLOURS[3]
WIDTH = 7.4
"""Width of figures in inches: a page's column, which they fill."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
}
_context: Any = matplotlib.rc_context  # its stubs list every key of one version
Draw = TypeVar("Draw", bound=Callable[..., Figure])


def styled(draw: Draw) -> Draw:
    """Let a function draw in the library's style."""
    return _context(STYLE)(draw)  # type: ignore[no-any-return]


def svg(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as SVG to be put into a page.

    Args:
        figure: the figure.
        name: unique in the page.
        alt: what a reader who cannot see it should know.
    """
    out = io.StringIO()
    blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _context({**STYLE, "svg.hashsalt": name}), _letters_of_all_scripts():
        figure.savefig(out, format="svg", transparent=True, metadata=blank)
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 system-ui, sans-serif", text)
    text = text.replace(INK, "currentColor").replace(LINE, "var(--line)")
    width = re.search(r'viewBox="0 0 ([\d.]+)', text)
    # As wide as the column, with letters of at least 11 pixels: on a small screen the figure is scrolled.
    points = float(width.group(1)) if width else 480
    size = f'style="max-width:{1.21 * points:.0f}pt;min-width:{0.83 * points:.0f}pt"'
    label = html.escape(alt, quote=True)
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg {size} \1 role="img" aria-label="{label}">', text, count=1
    )


def file(figure: Figure, format: str) -> bytes:
    """Return a figure as a file's content: png, svg or pdf."""
    out = io.BytesIO()
    with _letters_of_all_scripts():
        figure.savefig(out, format=format, dpi=160, facecolor="white")
    if format == "png":
        # A palette makes drawn lines and text a quarter of the size.
        picture, out = Image.open(out).convert("RGB"), io.BytesIO()
        picture.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


@contextlib.contextmanager
def _letters_of_all_scripts() -> Iterator[None]:
    """Draw names in any script; a letter that matplotlib's fonts lack is a box in a picture, and whole in a page."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


@styled
def bars(reports: Mapping[str, Any], chance: float | None = None, plain: Sequence[str] = ()) -> Figure:
    """Return a bar for each learner with its 95 % interval; learners named in `plain` are grey."""
    metric = next(iter(reports.values())).entry
    figure = Figure(figsize=(WIDTH, 0.8 + 0.38 * len(reports)))
    axes: Any = figure.add_subplot()
    for row, (name, report) in enumerate(reports.items()):
        colour = GREY if name in plain else COLOURS[0]
        half = report.interval if np.isfinite(report.interval) else 0.0
        axes.barh(row, report.mean, color=colour, height=0.62)
        axes.errorbar(report.mean, row, xerr=half, color=INK, capsize=3, linewidth=1)
        axes.annotate(f"{report.mean:.3f}", (report.mean + half, row), (6, 0), textcoords="offset points", va="center")
    if chance is not None:
        axes.axvline(chance, color=INK, linestyle=":", linewidth=1)
        above = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate("chance", (chance, 1.0), (0, 2), ha="center", va="bottom", fontsize=8, **above)
    axes.set_yticks(range(len(reports)), [for_plot(name) for name in reports])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    top = max(report.mean + (report.interval if np.isfinite(report.interval) else 0.0) for report in reports.values())
    low = min(report.mean - (report.interval if np.isfinite(report.interval) else 0.0) for report in reports.values())
    axes.set_xlim(min(0.0, 1.2 * low), max(0.0, 1.2 * top) if metric.upper is None else 1.09 * metric.upper)
    axes.set_xlabel(metric.title)
    return figure


def of_methods(methods: Sequence[Any]) -> Figure:
    """Return a bar for each method (`comparison.Method`), baselines in grey, and the line of chance."""
    plain = [each.label for each in methods if _meta_learns_nothing(each.first)]
    return bars({each.label: each for each in methods}, chance(methods[0].first), plain)


def _meta_learns_nothing(report: Report) -> bool:
    entry = registry_table("learner").get(report.learner)
    return entry is not None and entry.facts.get("family") == "baseline"


def chance(report: Report) -> float | None:
    """Return what guessing gives, where all tasks have the same number of ways."""
    ways = report.tasks.get("ways")
    if report.entry.chance is None or not isinstance(ways, list) or ways[0] != ways[1]:
        return None
    return report.entry.chance(int(ways[0]))


@styled
def learning(history: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Return the logged loss and validation metric against outer steps."""
    names = [name for name in history if name != "lr"]
    figure = Figure(figsize=(WIDTH, 2.6))
    for i, name in enumerate(names):
        axes: Any = figure.add_subplot(1, len(names), i + 1)
        steps, values = history[name]
        axes.plot(steps, values, color=COLOURS[i % 2], marker="o" if len(steps) < 40 else "", markersize=3)
        axes.set_title(_logged(name), loc="left")
        axes.set_xlabel("outer step")
    return figure


def _logged(name: str) -> str:
    """Return what readers call a column of a run's log."""
    metric = name.removeprefix("validation_")
    if metric != name:
        return f"Validation: {find_metric(metric).title}"
    return "Meta-training loss" if name == "loss" else name


@styled
def curve(values: Sequence[float], label: str, own: int) -> Figure:
    """Return a metric, called `label`, after each inner step; `own` is the step after which the learner predicts."""
    figure = Figure(figsize=(WIDTH, 2.6))
    axes: Any = figure.add_subplot()
    axes.plot(range(len(values)), values, color=COLOURS[0], marker="o", markersize=4)
    if own < len(values):
        axes.plot([own], [values[own]], "o", color=COLOURS[1], markersize=8, label=f"used here: {own}")
        axes.legend(loc="best")
    axes.set_xticks(range(0, len(values), max(1, len(values) // 10)))
    axes.set_xlabel("inner steps on the support")
    axes.set_ylabel(label)
    return figure


@styled
def presentations(reports: Mapping[str, Report]) -> Figure:
    """Return accuracy against the number of a class's presentation, with 95 % intervals, a line for each learner."""
    figure = Figure(figsize=(WIDTH, 3))
    axes: Any = figure.add_subplot()
    for i, (name, report) in enumerate(reports.items()):
        means, halves = zip(*report.presentation_curve, strict=True)
        numbers = range(1, len(means) + 1)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.errorbar(
            numbers, means, yerr=halves, color=colour, marker=marker, markersize=4, capsize=2, label=for_plot(name)
        )
    axes.set_xticks(numbers)
    axes.set(ylim=(0, 1.02), xlabel="presentation of a class", ylabel="accuracy")
    if len(reports) > 1:
        axes.legend(loc="lower right", fontsize=8)
    return figure


@styled
def reliability(table: np.ndarray[Any, Any]) -> Figure:
    """Return accuracy against confidence, and how many queries have which confidence."""
    figure = Figure(figsize=(WIDTH, 3))
    left, right = figure.subplots(1, 2)
    bins = len(table)
    edges = (np.arange(bins) + 0.5) / bins
    used = table[:, 2] > 0
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    left.bar(edges[used], table[used, 1], 0.9 / bins, color=COLOURS[0], alpha=0.55)
    left.plot(table[used, 0], table[used, 1], "o", color=COLOURS[0], markersize=4)
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    right.bar(edges, table[:, 2], 0.9 / bins, color=GREY)
    right.set(xlim=(0, 1), xlabel="confidence", ylabel="share of queries")
    return figure


@styled
def uncertainty(kinds: Mapping[str, tuple[str, str, Mapping[str, Mapping[str, Any]]]], exact: str = "") -> Figure:
    """Return what intervals or sets of each level hold, and the error where the unsure queries are left out.

    Args:
        kinds: for each kind of tasks, a row each, what is to hold the answers ('intervals'), what the error is, and by
            names of learners the `curve`, `share` and `risk` of their `uncertainty.Reliability`.
        exact: name of what is no learner, drawn with dashes.
    """
    most = max(len(learners) for _, _, learners in kinds.values())
    figure = Figure(figsize=(WIDTH, 2.5 * len(kinds) + (0.5 if most > 1 else 0.1)))
    for row, (title, (holds, error, learners)) in enumerate(kinds.items()):
        left, right = (figure.add_subplot(len(kinds), 2, 2 * row + column) for column in (1, 2))
        left.axline((0, 0), slope=1, color=GREY, linewidth=1)
        colours = iter(COLOURS)
        for name, found in learners.items():
            style: dict[str, Any] = {"color": INK, "linestyle": "--"} if name == exact else {"color": next(colours)}
            left.plot(*zip(*found["curve"], strict=True), label=for_plot(name), linewidth=1.3, **style)
            right.plot(found["share"], found["risk"], label=for_plot(name), linewidth=1.3, **style)
        left.set_title(title, loc="left")
        left.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"level of {holds}", ylabel="share of answers held")
        right.set(xlim=(0, 1), ylim=(0, None), xlabel="share of queries answered, the surest", ylabel=error)
    if most > 1:
        handles, texts = right.get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=4, fontsize=8)
    return figure


@styled
def maps(
    panels: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    support_labels: Sequence[int],
    labels: Sequence[int],
    wrong: Sequence[bool],
    names: Sequence[str],
) -> Figure:
    """Return maps of one task in the plane: support outlined, queries small, wrong ones ringed, a shape per class."""
    figure = Figure(figsize=(WIDTH, 3.9))
    kinds, truth, bad = np.asarray(support_labels), np.asarray(labels), np.asarray(wrong, dtype=bool)
    for i, (title, (support, queries)) in enumerate(panels.items()):
        axes: Any = figure.add_subplot(1, len(panels), i + 1)
        for n in range(len(names)):
            colour = COLOURS[n % len(COLOURS)]
            style: dict[str, Any] = {"color": colour, "marker": MARKERS[n % len(MARKERS)]}
            axes.scatter(*queries[truth == n].T, s=18, alpha=0.75, linewidth=0, label=for_plot(names[n]), **style)
            axes.scatter(*support[kinds == n].T, s=80, edgecolor=INK, linewidth=1.3, **style)
        if i == len(panels) - 1:
            axes.scatter(*queries[bad].T, s=62, facecolor="none", edgecolor=BAD, linewidth=1.2)
        axes.set_title(title, loc="left")
        axes.set(xticks=[], yticks=[])
    handles, texts = axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2 if len(names) <= 8 else 4, fontsize=8)
    return figure


@styled
def matrix(values: np.ndarray[Any, Any], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Return a table of shares in [0, 1] as shades, with their numbers; its last column stands apart."""
    figure = Figure(figsize=(2.0 + 0.8 * len(columns), 1.1 + 0.42 * len(rows)))
    axes: Any = figure.add_subplot()
    left = np.arange(len(columns)) + np.where(np.arange(len(columns)) == len(columns) - 1, 0.3, 0.0)
    heights = np.arange(len(rows) + 1)
    for j in range(len(columns)):
        # A mesh rather than axes.imshow, whose picture would be a bitmap in the page.
        axes.pcolormesh([left[j], left[j] + 1], heights, values[:, j : j + 1], cmap="Blues", vmin=0, vmax=1, alpha=0.8)
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if value > 0.7 else "#111111"
        axes.text(left[j] + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    columns = [for_plot(name) for name in columns]
    axes.set_xticks(
        left + 0.5,
        columns,
        rotation=0 if max(map(len, columns)) < 11 else 30,
        ha="center" if max(map(len, columns)) < 11 else "right",
    )
    axes.set_yticks(heights[:-1] + 0.5, [for_plot(name) for name in rows])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@styled
def functions(
    tasks: Sequence[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    predictions: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    bands: Sequence[Mapping[str, np.ndarray[Any, Any]]] = (),
) -> Figure:
    """Return regression tasks, each (support x, support y, query x in order, truth), with named predictions.

    `bands` holds, by the same names, the half-width of a band to be shaded about a prediction.
    """
    columns = 2
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(WIDTH, 2.3 * rows + 0.4))
    for i, ((sx, sy, x, y), found) in enumerate(zip(tasks, predictions, strict=True)):
        axes: Any = figure.add_subplot(rows, columns, i + 1)
        axes.plot(x, y, color=GREY, linewidth=4, alpha=0.45, label="truth", solid_capstyle="round")
        for j, (name, values) in enumerate(found.items()):
            last = j == len(found) - 1
            dash = "-" if last else (0, (1 + j, 1.5))
            axes.plot(x, values, color=COLOURS[j], linewidth=1.9 if last else 1.2, linestyle=dash, label=name)
            half = bands[i].get(name) if bands else None
            if half is not None:
                axes.fill_between(x, values - half, values + half, color=COLOURS[j], alpha=0.2, linewidth=0)
        axes.plot(sx, sy, "o", color=INK, markersize=5, label="support")
        axes.set_title(f"task {i + 1}", loc="left")
    handles, texts = axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=6, fontsize=9)
    return figure
