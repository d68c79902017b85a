"""Accuracy of the learners that come with the library, on glyphs and on drawings that were not trained on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from quickstudy import shipped
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import evaluate
from quickstudy.learners import NearestNeighbour
from quickstudy.registry import lookup
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy_studies.driver import Found, Part, Plan, Study, of_this_code

DATA = {"glyphs": "glyphs", "omniglot": "Omniglot"}
SETTINGS = ((5, 1), (5, 5), (20, 1))
TASKS, QUERIES = 600, 3


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """Accuracy of the learners that come with the library, on new glyphs and on new drawings of Omniglot.

    Args:
        folder: gets results.json and table.md.
        quick: few tasks.
        seeds: times as many tasks.
    """
    known, tasks = list(learners()), 10 if quick else TASKS * seeds
    digests = {name: digest(name) for name in shipped.names("learner")}
    asked = [(name, data, ways, shots) for data in DATA for name in known for ways, shots in SETTINGS]
    pieces = {
        f"{name}, {_column(data, ways, shots)}": partial(reached, name, data, ways, shots, tasks)
        for name, data, ways, shots in asked
        if can(name, ways)
    }

    def results(found: Found) -> dict[str, Any]:
        table: dict[str, Any] = {name: {} for name in known}
        for name, data, ways, shots in asked:
            column = _column(data, ways, shots)
            if can(name, ways):
                table[name][column] = found[f"{name}, {column}"]
        return {name: each | ({"sha256": digests[name]} if name in digests else {}) for name, each in table.items()}

    return Plan((Part(pieces, of_this_code(tasks=tasks, **digests)),), results)


def _column(data: str, ways: int, shots: int) -> str:
    return f"{data} {ways}w{shots}s"


def reached(name: str, data: str, ways: int, shots: int, tasks: int) -> dict[str, float]:
    """Return the accuracy of a learner on new classes."""
    learner: Learner = shipped.pretrained(name) if name in shipped.names("learner") else NearestNeighbour()
    report = evaluate(learner, FewShot(_test(data), ways, shots, QUERIES), tasks, curve_steps=0)
    return {"mean": report.mean, "interval": report.interval}


@functools.cache
def _test(data: str) -> ClassData:
    """Return the classes for tests."""
    return lookup("recipe", "glyphs-protonet").build(data=data).splits()[2]  # type: ignore[no-any-return]


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
        (data, _column(data, ways, shots), f"{ways}-way {shots}-shot") for data in DATA for ways, shots in SETTINGS
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


def summary(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table's lines."""
    return markdown(found).splitlines()


pretrained_learners = Study("pretrained", plan, markdown, summary, seeds=1)
