"""Tables and figure of learned example weights."""

from __future__ import annotations

import statistics

from matplotlib.figure import Figure

from quickstudy.reports.plots import COLOURS, styled
from quickstudy_studies.noisy_labels.run import LOSSES
from quickstudy_studies.shared.learned_rows import Runs, mean, table, told

WAYS = {
    "plain": "plain training",
    "clean": "the clean rows alone",
    "learned": "Meta-Weight-Net",
    "ceiling": "right labels",
}


def recovered(runs: Runs) -> float | None:
    """Return the share that Meta-Weight-Net wins back of what wrong labels cost plain training; None if nothing."""
    plain, learned, ceiling = (mean(runs, way) for way in ("plain", "learned", "ceiling"))
    return (learned - plain) / (ceiling - plain) if ceiling > plain else None


def weights(runs: Runs, wrong: bool) -> list[float]:
    """Return the weights of rows with a wrong label, or of the others, as shares of their run's largest."""
    return [
        value / max(each["weights"])
        for each in runs
        for value, mark in zip(each["weights"], each["wrong"], strict=True)
        if mark == wrong
    ]


def markdown(runs: Runs) -> str:
    """Return the table of accuracies on test rows."""
    return table(runs, WAYS)


def summary(runs: Runs) -> list[str]:
    """Return what came out in a few lines."""
    right, wrong = (statistics.fmean(weights(runs, mark)) for mark in (False, True))
    share = recovered(runs)
    back = "wrong labels cost nothing" if share is None else f"{100 * share:.0f} %"
    return [
        told(runs, WAYS),
        f"Won back of what wrong labels cost: {back}",
        f"Mean weight, of the largest: {right:.3f} with the right label, {wrong:.3f} with a wrong one",
    ]


@styled
def figure(runs: Runs) -> Figure:
    """Draw the weights that rows get, and the weight for each loss."""
    drawn = Figure(figsize=(9, 3.2))
    left, right = drawn.subplots(1, 2)
    for number, kind in enumerate(("right label", "wrong label")):
        shown = weights(runs, bool(number))
        left.hist(shown, bins=30, range=(0, 1), color=COLOURS[number], alpha=0.7, label=kind)
    left.set(xlabel="learned weight, of the largest", ylabel="rows of all seeds", yscale="log")
    left.legend()
    for each in runs:
        right.plot(LOSSES, each["curve"], color=COLOURS[2])
    right.set(title="a line for each seed", xlabel="loss of a row", ylabel="its weight")
    return drawn
