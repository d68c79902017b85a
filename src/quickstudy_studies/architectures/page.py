"""Table, figure and summary of searches in a space of cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, GREY, MARKERS, styled
from quickstudy_studies.architectures.ranks import REPEATS
from quickstudy_studies.architectures.space import EVERY, ORDERS

Content = dict[str, Any]


def markdown(content: Content) -> str:
    """Return a table of what each search finds, and one of the best and worst architectures and those found."""
    count = len(content["space"])
    lines = [
        f"| search | training runs | median rank of {count} | best | worst | in the best tenth | test accuracy, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in _searches(content)]
    lines += [
        "",
        "| rank | " + " | ".join(_edges(content)) + " | test accuracy | rank by one beginning | found by DARTS |",
    ]
    lines += ["|---" * (4 + len(_edges(content))) + "|"]
    shown = {place for place in (*range(5), count // 2, count - 1) if place < count}
    found: dict[str, list[str]] = {}
    for each in content["searches"]:
        found.setdefault(each["architecture"], []).append(each["order"])
    for place, each in enumerate(content["space"]):
        by = found.get(each["architecture"], [])
        if place in shown or by:
            operations = " | ".join(content["operations"][int(n)] for n in each["architecture"].split("-"))
            times = ", ".join(f"{order} order ({by.count(order)})" for order in ORDERS if order in by)
            accuracy = f"{100 * each['test']:.1f} ± {100 * each['deviation']:.1f}"
            alone = "{:g} to {:g}".format(*each["alone"])
            lines.append(f"| {each['rank']:g} | {operations} | {accuracy} | {alone} | {times} |")
    return "\n".join(lines)


def _edges(content: Content) -> list[str]:
    nodes = content["settings"]["training"]["nodes"]
    return [f"{i} to {j}" for j in range(1, nodes) for i in range(j)]


def _searches(content: Content) -> Iterator[list[str]]:
    for order in ORDERS:
        own = [each for each in content["searches"] if each["order"] == order]
        ranks = [each["rank"] for each in own]
        within = statistics.fmean(rank <= content["top"] for rank in ranks)
        rivals = content["rivals"][order]
        yield _row(
            f"DARTS, {order} order",
            rivals["runs"],
            [statistics.median(ranks), min(ranks), max(ranks)],
            within,
            statistics.fmean(each["test"] for each in own),
        )
        for name in ("random search", "evolution"):
            each = rivals[name]
            yield _row(name, rivals["runs"], each["rank"], each["within"], each["test"])


def _row(name: str, runs: int, ranks: list[float], within: float, test: float) -> list[str]:
    return [name, str(runs), *(f"{rank:g}" for rank in ranks), f"{100 * within:.0f} %", f"{100 * test:.1f}"]


def summary(content: Content) -> list[str]:
    """Return what came out in a few lines."""
    space = content["space"]
    low, high = 100 * space[-1]["test"], 100 * space[0]["test"]
    noise = 100 * float(np.sqrt(np.mean([each["deviation"] ** 2 for each in space])))
    lines = [
        f"{len(space)} architectures: test accuracy {low:.1f} to {high:.1f} %; between beginnings it varies by "
        f"{noise:.1f} (standard deviation), and the ranks by two beginnings correlate at {content['agreement']:.2f}"
    ]
    for name, runs, median, best, worst, within, test in _searches(content):
        lines.append(
            f"{name}, {runs} training runs: rank {median} (median; {best} to {worst}), in the best tenth {within}, "
            f"test accuracy {test} %"
        )
    return [*lines, f"Of random search and evolution, {REPEATS} each: 5th and 95th percentile"]


@styled
def figure(content: Content) -> Figure:
    """Draw the space by rank with what was found, and how the mixtures change."""
    drawn = Figure(figsize=(9, 3.4))
    axes: Any = drawn.subplots(1, 3, width_ratios=(1.7, 1, 1))
    space, left = content["space"], axes[0]
    places = np.arange(1, len(space) + 1)
    accuracy = np.array([100 * each["test"] for each in space])
    spread = np.array([100 * each["deviation"] for each in space])
    left.axvspan(0.5, content["top"], color=COLOURS[2], alpha=0.12, linewidth=0)
    left.fill_between(places, accuracy - spread, accuracy + spread, color=GREY, alpha=0.3, linewidth=0)
    left.plot(places, accuracy, color=GREY, linewidth=1.5)
    height = float(accuracy.min() + 0.72 * (accuracy.max() - accuracy.min()))
    for number, order in enumerate(ORDERS):
        own = [each for each in content["searches"] if each["order"] == order]
        ranks, heights = [each["rank"] for each in own], [100 * each["test"] for each in own]
        # The first on the curve, the second a little above it: they often find the same.
        shift = 4 * number
        left.plot(ranks, [y + shift for y in heights], MARKERS[number], color=COLOURS[number], alpha=0.7, zorder=3)
        left.plot([], [], MARKERS[number], color=COLOURS[number], label=f"DARTS, {order} order, each search")
        panel = axes[number + 1]
        # (searches, looks, edges, operations)
        mean = np.array([each["mixtures"] for each in own]).mean((0, 2))
        for operation, name in enumerate(content["operations"]):
            panel.plot(EVERY * np.arange(len(mean)), mean[:, operation], color=COLOURS[operation], label=name)
        panel.set(title=f"{order} order", xlabel="step of the search", ylim=(0, 0.8))
        rivals = content["rivals"][order]
        for name, colour in (("random search", COLOURS[4]), ("evolution", COLOURS[5])):
            median, low, high = rivals[name]["rank"]
            label = f"{name}, {rivals['runs']} runs, 5 to 95 %"
            line = {"color": colour, "linestyle": "-" if number else "--"}
            left.plot([low, high], [height, height], **line, label=label)
            left.plot([median], [height], "|", color=colour, markersize=6)
            height -= 0.05 * float(accuracy.max() - accuracy.min())
    left.set(xlabel="true rank (the best tenth is shaded)", ylabel="test accuracy, %")
    left.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 0.02))
    axes[1].set_ylabel("mean weight in the mixture")
    axes[2].legend(fontsize=7, ncols=2, loc="upper right")
    return drawn
