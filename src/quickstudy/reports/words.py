"""Facts in words, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BATCH_NORM = {
    "support": "Batch statistics come from each task's support, so every query is predicted by itself.",
    "transductive": "Transductive: batch statistics come from the queries themselves, which therefore see each other; "
    "such figures are not comparable with those of methods that predict each query by itself.",
    "frozen": "Batch statistics are the running averages of the pretrained net: every query is predicted by itself.",
    "none": "The net has no batch normalisation: every query is predicted by itself.",
}

OVER_RUNS = "Intervals of methods with several runs are over runs and tasks; those of single runs are over tasks alone."
ONE_METHOD = "These are runs of one method, so there are no methods to compare."


def span(value: Any) -> str:
    """Return a number, or a range [low, high], in words."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        low, high = value
        return str(low) if low == high else f"{low} to {high}"
    return str(value)


def tasks_in_words(tasks: Mapping[str, Any]) -> str:
    """Return what `TaskDistribution.describe` gave, in words."""
    name = str(tasks.get("name", "tasks"))
    if "presentations" in tasks:
        return f"{name}, sequences of {span(tasks['ways'])} classes, {tasks['presentations']} presentations of each"
    if "ways" in tasks and "shots" in tasks:
        words = f"{name}, {span(tasks['ways'])}-way {span(tasks['shots'])}-shot"
    elif "shots" in tasks:
        words = f"{name}, {span(tasks['shots'])} support points"
    elif "batch" in tasks:
        return f"{name}, supervised mini-batches of {tasks['batch']} rows over {tasks['classes']} classes at once"
    else:
        words = name
    if "queries" in tasks:
        words += f", {span(tasks['queries'])} queries" + (" a class" if "ways" in tasks else "")
    return words
