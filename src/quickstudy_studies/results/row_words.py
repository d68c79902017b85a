"""The words of a row: its figure beside the published one, and who trained its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstudy.evaluation import find_metric


def summary(found: Mapping[str, Any]) -> str:
    """Return what came out in a line."""
    published = "" if found["published"] is None else f"; published {shown(found['published'], found['metric'])}"
    return (
        f"{found['row']}: {found['metric']} {shown(found['mean'], found['metric'])} +/- "
        f"{shown(found['interval'], found['metric'])} (95 %, {found['tasks']} tasks, {len(found['seeds'])} seeds)"
        f"{published}"
    )


def older(found: Mapping[str, Any]) -> list[str]:
    """Return a line that says so where another version trained the runs than the one that tested them."""
    trained, now = found["code"], found["tested_by"]
    return [] if trained == now else [f"Its runs were trained by {trained}, and tested by {now}."]


def shown(value: float, metric: str) -> str:
    """Return a number in the unit that papers report: shares in per cent, errors as they are."""
    return f"{100 * value:.2f} %" if find_metric(metric).is_share else f"{value:.3f}"
