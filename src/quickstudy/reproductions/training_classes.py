"""Meta-overfitting: accuracy on new classes against the number of classes to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quickstudy.console import Tick
from quickstudy.plots import COLOURS, MARKERS, styled
from quickstudy.registry import register
from quickstudy.reproductions.grid import QUICK, grid
from quickstudy.reproductions.row import Row

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "protonet": ("ProtoNet (metric)", {"steps": 600, "meta_batch": 1, "lr": 1e-3}),
    "maml": ("MAML (optimisation)", {"steps": 2000}),
    "metanet": ("MetaNet (model)", {"steps": 1000}),
}
COUNTS = (10, 30, 100, 300, 713)
"""Of classes, before rotations; 713 is all but those on which weights are chosen."""


def _rows(quick: bool) -> dict[str, Row]:
    rows = {}
    for name, (_, options) in METHODS.items():
        for count in COUNTS[:2] if quick else COUNTS:
            for rotations in (True, False):
                own: dict[str, Any] = {**options, "train_classes": count, "rotations": rotations}
                if name == "protonet":
                    own["train_ways"] = min(20, count)
                if quick:
                    own |= QUICK
                label = f"{name}-{count}-{'turned' if rotations else 'upright'}"
                rows[label] = Row(label, f"omniglot-{name}", label, own, tasks=5 if quick else 600)
    return rows


@register("reproduction", "training-classes")
def training_classes(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Meta-overfitting: accuracy on new classes by the number of meta-training classes, for a method of each family.

    Args:
        folder: gets results.json, table.md, classes.png and the trained runs.
        tick: told how many runs of how many are trained.
        quick: two numbers of classes, two steps.
        seeds: repetitions.

    Returns:
        Lines that say what came out.
    """
    from quickstudy.reproductions.saving import save

    found = grid(_rows(quick), folder, tick, seeds=seeds, here=True if quick else None)
    table = markdown(found)
    save(folder, found, table, classes=figure(found))
    return ["5-way 1-shot accuracy on new classes, %", *table.splitlines()]


def _points(found: dict[str, Any], name: str, turned: bool) -> list[tuple[int, dict[str, Any]]]:
    kind = "turned" if turned else "upright"
    points = [(count, found.get(f"{name}-{count}-{kind}")) for count in COUNTS]
    return [(count, each) for count, each in points if each is not None]


def markdown(found: dict[str, Any]) -> str:
    """Return accuracies, and in brackets the gap to training classes, in per cent."""
    counts = [count for count, _ in _points(found, "maml", True)]
    lines = ["| classes | " + " | ".join(map(str, counts)) + " |", "|---|" + "---|" * len(counts)]
    for name, (label, _) in METHODS.items():
        for turned in (True, False):
            cells = [
                f"{100 * each['mean']:.1f} ± {100 * each['interval']:.1f} ({100 * each['overfitting_gap']:.1f})"
                for _, each in _points(found, name, turned)
            ]
            how = "with rotations" if turned else "without"
            lines.append(f"| {label}, {how} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@styled
def figure(found: dict[str, Any]) -> Figure:
    """Draw accuracy on new classes, and the gap to training classes, by the number of classes."""
    drawn = Figure(figsize=(9, 3.4))
    parts = (("accuracy on new classes", "mean"), ("lost from training to new classes", "overfitting_gap"))
    for i, (title, key) in enumerate(parts):
        axes: Any = drawn.add_subplot(1, 2, i + 1)
        for j, (name, (label, _)) in enumerate(METHODS.items()):
            for turned in (True, False):
                points = _points(found, name, turned)
                axes.plot(
                    [count for count, _ in points],
                    [each[key] for _, each in points],
                    color=COLOURS[j],
                    marker=MARKERS[j],
                    linestyle="-" if turned else ":",
                    label=f"{label}, {'with' if turned else 'without'} rotations",
                )
        axes.set_xscale("log")
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.minorticks_off()
        axes.set_xlabel("meta-training classes, before rotations")
        axes.set_title(title, loc="left")
        if i == 0:
            axes.legend(fontsize=7)
    return drawn
