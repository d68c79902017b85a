"""Classes of a user's own: pictures in folders and rows in a table, small and quick to make."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(
    folder: Path, classes: list[str], each: int = 6, edge: int = 20, colour: bool = True, seed: int = 0
) -> Path:
    """Write a folder of pictures for each class: a patch of a colour of its own, noise about it."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        base = rng.integers(40, 215, 3 if colour else 1)
        for i in range(each):
            pixels = base + rng.integers(-40, 41, (edge, edge, len(base)))
            array = pixels.clip(0, 255).astype(np.uint8)
            Image.fromarray(array if colour else array[:, :, 0]).save(folder / name / f"{i}.png")
    return folder


def rows(path: Path, classes: list[str], each: int = 6, width: int = 3, seed: int = 0, group: int = 0) -> Path:
    """Write a CSV of numbers on very different scales, with a label, a number of the row and perhaps a group."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(f"x{i}" for i in range(width)), "label", *(["team"] if group else [])])
        for number, name in enumerate(classes):
            centre = rng.standard_normal(width)
            for i in range(each):
                values = (centre + 0.3 * rng.standard_normal(width)) * 1000.0 ** np.arange(width)
                writer.writerow([number * each + i, *values, name, *([f"team {number % group}"] if group else [])])
    return path


def names(count: int, stem: str = "class") -> list[str]:
    return [f"{stem} {i:02}" for i in range(count)]
