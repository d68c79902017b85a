"""The files that a study leaves in its folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from quickstudy.reports import plots
from quickstudy.storage.checkpoint import write_atomically, write_json


def save(folder: Path, results: Any, table: str, colours: int = 256, **figures: Figure) -> None:
    """Write results.json, table.md, and each figure as a PNG of its name, each of them whole or not at all."""
    write_json(folder / "results.json", results)
    write_atomically(folder / "table.md", (table + "\n").encode())
    for name, figure in figures.items():
        write_atomically(folder / f"{name}.png", picture(figure, colours))


def picture(figure: Figure, colours: int = 256) -> bytes:
    """Return a figure as a PNG of few colours, a third as large as one of all."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(plots.file(figure, "png"))) as image:
        image.convert("RGB").quantize(colours).save(out, "PNG", optimize=True)
    return out.getvalue()
