"""How much the inner learning rate and the number of inner steps matter to the MAML family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.console import Tick
from quickstudy.plots import COLOURS, MARKERS, styled
from quickstudy.registry import register
from quickstudy.reproductions.grid import QUICK, grid
from quickstudy.reproductions.row import Row

METHODS = {"maml": "MAML", "fomaml": "FOMAML", "metasgd": "Meta-SGD", "anil": "ANIL"}
RATES = (0.04, 0.13, 0.4, 1.3, 4.0)
MARKS = (1, 3, 10, 30, 100)
"""Inner steps in the test that the table shows; of them all but the first are on fewer tasks."""


def _rows(quick: bool) -> dict[str, Row]:
    options = {"steps": 1500, **(QUICK if quick else {}), "test_steps": 1}
    return {
        f"{name}-{rate}": Row(
            f"{name}-{rate}",
            f"omniglot-{name}",
            name,
            {**options, "inner_lr": rate},
            tasks=5 if quick else 600,
            curve=3 if quick else MARKS[-1],
        )
        for name in METHODS
        for rate in (RATES[:2] if quick else RATES)
    }


@register("reproduction", "sensitivity")
def sensitivity(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Accuracy of MAML and its kin by the inner learning rate, trained and tested, and by inner steps in the test.

    Args:
        folder: gets results.json, table.md, sensitivity.png and the trained runs.
        tick: told how many runs of how many are trained.
        quick: two rates, two steps.
        seeds: repetitions.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.reproductions.saving import save

    found = grid(_rows(quick), folder, tick, seeds=seeds, here=True if quick else None)
    table = markdown(found)
    save(folder, found, table, sensitivity=figure(found))
    return ["5-way 1-shot accuracy after one inner step, as in training, and after more, %", *table.splitlines()]


def _known(found: dict[str, Any], name: str) -> list[tuple[float, dict[str, Any]]]:
    return [(rate, found[f"{name}-{rate}"]) for rate in RATES if f"{name}-{rate}" in found]


def markdown(found: dict[str, Any]) -> str:
    """Return accuracies in per cent."""
    length = len(next(iter(found.values()))["curve"])
    marks = [mark for mark in MARKS if mark < length]
    lines = ["| method | inner rate | " + " | ".join(f"{mark} steps" for mark in marks) + " | ± after 1 |"]
    lines.append("|---|" + "---|" * (len(marks) + 2))
    for name, label in METHODS.items():
        for rate, each in _known(found, name):
            shown = [each["mean"] if mark == 1 else each["curve"][mark] for mark in marks]
            cells = " | ".join(f"{100 * value:.1f}" for value in shown)
            lines.append(f"| {label} | {rate:g} | {cells} | {100 * each['interval']:.1f} |")
    return "\n".join(lines)


@styled
def figure(found: dict[str, Any]) -> Figure:
    """Draw accuracy by inner rate, and by inner steps at the best rate of each method."""
    drawn = Figure(figsize=(9, 3.2))
    left: Any = drawn.add_subplot(1, 2, 1)
    right: Any = drawn.add_subplot(1, 2, 2)
    for j, (name, label) in enumerate(METHODS.items()):
        known = _known(found, name)
        style: dict[str, Any] = {"color": COLOURS[j], "label": label}
        left.plot([rate for rate, _ in known], [each["mean"] for _, each in known], marker=MARKERS[j], **style)
        rate, best = max(known, key=lambda point: point[1]["mean"])
        right.plot(range(1, len(best["curve"])), best["curve"][1:], **{**style, "label": f"{label}, rate {rate:g}"})
    left.set_xscale("log")
    left.set_xlabel("inner learning rate, in training and test")
    left.set_title("accuracy after one inner step", loc="left")
    right.set_xscale("log")
    right.set_xlabel("inner steps in the test (one in training)")
    right.set_title("accuracy at the best rate", loc="left")
    left.legend()
    right.legend()
    return drawn
