"""Which learners need no training, how good is each, and what does it take?"""

from __future__ import annotations

import re

from torch import nn

from quickstudy import shipped
from quickstudy.cli.own_images import image_shape, takes_drawings
from quickstudy.core import Learner

FIGURE = "5-way 1-shot"
"""The figures of a model card that the list shows."""


def columns_and_rows() -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the list. The last row is the classifier that has nothing pretrained."""
    columns = [
        "name",
        "learner",
        "trained on",
        "accuracy of five classes, one example each",
        "takes",
        "size",
        "licence",
    ]
    rows = []
    for name in shipped.names("learner"):
        learner = shipped.pretrained(name)
        data = str(shipped.card(name).get("tasks", {}).get("name", "")).removesuffix(" train").replace("+", ", ")
        size = f"{(shipped.WEIGHTS / f'{name}.safetensors').stat().st_size / 1e6:.2f} MB"
        rows.append([name, type(learner).__name__, data, _accuracy(name), _takes(learner), size, "MIT"])
    rows.append(["default", "FewShotClassifier", "nothing", "", "tables and features; any classes", "0 MB", "MIT"])
    return columns, rows


def _accuracy(name: str) -> str:
    """Return the figures that a model card has for one example of each of five classes, by data."""
    text = (shipped.WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    table = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    if len(table) < 3:
        return ""
    cells = zip(table[0], next((row for row in table if row[0] == name), []), strict=False)
    return "; ".join(
        f"{value.partition(' ')[0]} % {head.partition(',')[0]}"
        for head, value in cells
        if head.endswith(FIGURE) and value
    )


def _takes(learner: Learner) -> str:
    if takes_drawings(learner):
        images = "drawings of any size and colour"
    else:
        channels, edge = image_shape(learner, None)
        images = f"{'grey' if channels == 1 else 'colour'} images, {edge}x{edge}"
    outputs = [each.out_features for each in learner.modules() if isinstance(each, nn.Linear)]
    any_number = getattr(learner, "compares_rows", False) or not outputs
    return f"{images}; {'any' if any_number else f'up to {outputs[-1]}'} classes"
