"""What the learners that come with the library reach on glyphs and on drawings that were not trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quickstudy import shipped
from quickstudy.cli.console import Tick
from quickstudy.core import Learner
from quickstudy.evaluation import evaluate
from quickstudy.learners import NearestNeighbour
from quickstudy.registry import lookup, register
from quickstudy.tasks.data.few_shot import FewShot

DATA = {"glyphs": "glyphs", "omniglot": "Omniglot"}
SETTINGS = ((5, 1), (5, 5), (20, 1))
TASKS, QUERIES = 600, 3


@register("reproduction", "pretrained")
def pretrained_learners(folder: Path, tick: Tick, quick: bool = False, seeds: int = 1) -> list[str]:
    """Accuracy of the learners that come with the library, on new glyphs and on new drawings of Omniglot.

    Args:
        folder: gets results.json and table.md.
        tick: told how many evaluations of how many are done.
        quick: few tasks.
        seeds: times as many tasks.

    Returns:
        Lines that say what came out.
    """
    from quickstudy_studies.shared.saving import save

    known = learners()
    asked = [(data, name, setting) for data in DATA for name in known for setting in SETTINGS]
    found: dict[str, dict[str, Any]] = {name: {} for name in known}
    tests = {data: lookup("recipe", "glyphs-protonet").build(data=data).splits()[2] for data in DATA}
    for done, (data, name, (ways, shots)) in enumerate(asked):
        tick(done, len(asked))
        if can(name, ways):
            tasks = FewShot(tests[data], ways, shots, QUERIES)
            report = evaluate(known[name], tasks, 10 if quick else TASKS * seeds, curve_steps=0)
            found[name][f"{data} {ways}w{shots}s"] = {"mean": report.mean, "interval": report.interval}
    tick(len(asked), len(asked))
    for name in shipped.names("learner"):
        found[name]["sha256"] = digest(name)
    save(folder, found, table := markdown(found))
    return table.splitlines()


def digest(name: str) -> str:
    """Return what tells a learner's file from all others, so that figures are known to be of it."""
    return hashlib.sha256((shipped.WEIGHTS / f"{name}.safetensors").read_bytes()).hexdigest()


def learners() -> dict[str, Learner]:
    """Return what is evaluated: the learners that come with the library, and one that learns nothing across tasks."""
    known: dict[str, Learner] = {name: shipped.pretrained(name) for name in shipped.names("learner")}
    return {**known, "nearest neighbour on pixels": NearestNeighbour()}


def can(name: str, ways: int) -> bool:
    """Return whether a learner tells so many classes apart: those with a head were trained for a number of them."""
    if name not in shipped.names("learner"):
        return True
    card = shipped.card(name)
    return card["recipe"] is None or not card["recipe"].endswith("maml") or ways <= card["options"]["ways"]


def markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return accuracies in per cent."""
    columns = [
        (data, f"{data} {ways}w{shots}s", f"{ways}-way {shots}-shot") for data in DATA for ways, shots in SETTINGS
    ]
    lines = [
        "| learner | " + " | ".join(f"{DATA[data]}, {title}" for data, _, title in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, each in found.items():
        cells = (
            f"{100 * each[column]['mean']:.1f} ± {100 * each[column]['interval']:.1f}" if column in each else ""
            for _, column, _ in columns
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
