"""Tables and curves of the comparison of optimisers, made from its JSON alone."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, styled
from quickstudy_studies.learned_optimizer.comparison import COSINE, DEFAULT, LEARNED, TOLD, TUNED, beaten, final

Content = dict[str, Any]


def summary(content: Content) -> list[str]:
    """Return the counts, as lines of text."""
    problems = content["problems"]
    parts = {"within the horizon": [each for each in problems if not each["long"]]}
    parts["5 times beyond it"] = [each for each in problems if each["long"]]
    lines = []
    for by, words in ((LEARNED, "as it is"), (TOLD, "told the number of steps")):
        lines.append(f"{words}: beats Adam at its default rate on {_share(problems, DEFAULT, by)} problems")
        for part, some in parts.items():
            counts = ", ".join(f"tuned {name} on {_share(some, name, by)}" for name in TUNED)
            lines.append(f"{words}, {part}: beats {counts}; Adam with a cosine schedule on {_share(some, COSINE, by)}")
        lost = [each["name"] for each in problems if each["name"] not in beaten(problems, DEFAULT, by)]
        lines.append(f"{words}: ends no lower than Adam at its default rate on: {', '.join(lost) or 'none'}")
        diverged = [each["name"] for each in problems if math.isinf(final(each, by))]
        lines.append(f"{words}: diverges on: {', '.join(diverged) or 'none'}")
    return lines


def _share(problems: list[Content], optimiser: str, by: str) -> str:
    return f"{len(beaten(problems, optimiser, by))} of {len(problems)}"


def markdown(content: Content) -> str:
    """Return counts and tables."""
    environment = content["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    parts = [
        f"Measured {environment['date']} on {environment['cpu']}, {versions}; {content['seeds']} seeds.",
        "The learned optimiser\n\n" + "\n".join(f"- {line}" for line in summary(content)),
    ]
    for heading, long in (("Within the horizon", False), ("Five times beyond the horizon", True)):
        some = [each for each in content["problems"] if each["long"] == long]
        if some:
            parts.append(f"### {heading}\n\n{_table(some)}")
    labels = list(content["step_times"][0]["ms"])
    rows = [
        [row["net"], f"{row['parameters']:,}", *(f"{row['ms'][label]:.3g}" for label in labels)]
        for row in content["step_times"]
    ]
    parts.append("### Time of a step, ms\n\n" + _rows(["net", "parameters", *labels], rows))
    return "\n\n".join(parts)


def _table(problems: list[Content]) -> str:
    names = (LEARNED, TOLD, DEFAULT, *TUNED, COSINE)
    rows = []
    for each in problems:
        losses = {name: final(each, name) for name in names}
        compared = (LEARNED, DEFAULT, *TUNED)
        least = min(losses[name] for name in compared)
        cells = []
        for name in names:
            text = _number(losses[name])
            track = each["optimisers"][name]
            rate = f" ({track['rates'][track['best']]:.0e})" if name in (*TUNED, COSINE) else ""
            cells.append(f"**{text}**{rate}" if losses[name] == least and name in compared else text + rate)
        ratio = losses[LEARNED] / losses["Adam"] if losses["Adam"] > 0 else math.nan
        rows.append([each["name"], each["what"], f"{each['parameters']:,}", *cells, _number(ratio)])
    return _rows(["problem", "net", "parameters", *names, "learned / tuned Adam"], rows)


def _number(value: float) -> str:
    return "diverged" if math.isinf(value) else "-" if math.isnan(value) else f"{value:.3g}"


def _rows(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@styled
def curves(content: Content) -> Figure:
    """Return a panel for each problem: median training loss by step."""
    problems = content["problems"]
    columns = min(4, len(problems))
    lines = math.ceil(len(problems) / columns)
    figure = Figure(figsize=(3.1 * columns, 2.2 * lines + 0.5))
    panels: Any = figure.subplots(lines, columns, squeeze=False)
    looks = {LEARNED: (COLOURS[3], 2.0), TOLD: (COLOURS[4], 1.6), DEFAULT: (GREY, 1.2), COSINE: (COLOURS[5], 1.0)}
    looks |= dict(zip(TUNED, [(COLOURS[0], 1.2), (COLOURS[2], 1.2), (COLOURS[1], 1.2)], strict=True))
    for axes in panels.flat[len(problems) :]:
        axes.set_visible(False)
    for axes, each in zip(panels.flat, problems, strict=False):
        for name, (colour, width) in looks.items():
            curve = [math.nan if value is None else value for value in each["optimisers"][name]["curve"]]
            label = f"{name}, tuned" if name in (*TUNED, COSINE) else name
            axes.plot(each["marks"], curve, color=colour, linewidth=width, label=label, zorder=3 if width > 1.5 else 2)
        begun = each["optimisers"][LEARNED]["curve"][0]
        axes.set_yscale("log")
        if begun:
            axes.set_ylim(top=3 * begun)
        axes.set_xlabel("step", fontsize=8)
        axes.set_title(each["name"] + (" (5x)" if each["long"] else ""))
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return figure
