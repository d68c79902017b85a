"""CUB-200-2011: 11,788 photographs of 200 kinds of birds.

Wah, Branson, Welinder, Perona and Belongie, 'The Caltech-UCSD Birds-200-2011 Dataset', Caltech technical report
CNS-TR-2011-001, 2011; https://data.caltech.edu/records/65de6-vp158. For few-shot learning Hilliard et al. (2018) and
Chen et al. (2019) split the classes at random into 100, 50 and 50: `cub().split(fractions=(0.5, 0.25, 0.25))`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import Archive, open_archive
from quickstudy.datasets.reading.decoding import decode
from quickstudy.datasets.reading.files import PublishedFile, cached, find, sha256
from quickstudy.errors import DataError, InputError
from quickstudy.registry import register

_FILE = PublishedFile(
    "cub/CUB_200_2011.tgz",
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
    "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
)


@register("dataset")
def cub(
    path: str | os.PathLike[str] | None = None, size: int = 84, crop: bool = False, cache: bool = True
) -> ClassData:
    """Return the birds.

    Args:
        path: `CUB_200_2011.tgz`, or its extracted folder; None searches as described in `datasets.reading.files`.
        size: height and width.
        crop: crop each image to the bird's bounding box first.
        cache: keep and use decoded pictures of the archive on disk.

    Returns:
        inputs (M, 3, size, size) uint8; classes such as '001.Black_footed_Albatross'; `source` is 1 for the images of
        the official training part, else 0, where the archive tells.

    Raises:
        DataNotFoundError: no copy was found or downloaded.
        DataError: a list or an image is missing or corrupt.
        InputError: the size is not positive.
    """
    if size < 1:
        raise InputError(f"size must be positive, not {size}")
    place = find([_FILE, PublishedFile("cub/CUB_200_2011")], path) if path is None else Path(path).expanduser()
    if not cache or not place.is_file():
        return _read(place, size, crop)
    parameters = {"cub": 1, "size": size, "crop": crop, "sha256": sha256(place)}
    return cached("cub", parameters, lambda: _read(place, size, crop))


def _read(place: Path, size: int, crop: bool) -> ClassData:
    with open_archive(place) as archive:
        # Each list has a line an image, or a class: its number, then the value.
        files = _table(archive, "images.txt")
        names = _table(archive, "classes.txt")
        labels = _table(archive, "image_class_labels.txt")
        boxes = _table(archive, "bounding_boxes.txt") if crop else {}
        trained = any(name.endswith("train_test_split.txt") for name in archive.names)
        official = _table(archive, "train_test_split.txt") if trained else {}
        missing = set(files) - set(labels) or (set(files) - set(boxes) if crop else set())
        if missing or not set(labels.values()) <= set(names):
            raise DataError(f"the lists of {place} disagree on images or classes; download it again")
        used = sorted({labels[image] for image in files}, key=int)
        index = {number: i for i, number in enumerate(used)}
        root = archive.find("images.txt").removesuffix("images.txt")
        members = {f"{root}images/{file}": image for image, file in files.items()}
        absent = set(members) - set(archive.names)
        if absent:
            raise DataError(f"{place} lists {min(absent)}, which is missing; download it again")
        pixels = np.empty((len(members), 3, size, size), dtype=np.uint8)
        rows: list[str] = []
        for row, (name, content) in enumerate(archive.read_all(members)):
            box = _box(boxes[members[name]], place) if crop else None
            pixels[row] = decode(content, f"{place}: {name}", 3, size, box=box)
            rows.append(members[name])
    return ClassData(
        inputs=torch.from_numpy(pixels),
        labels=torch.tensor([index[labels[image]] for image in rows]),
        classes=tuple(names[number] for number in used),
        name="cub",
        source=torch.tensor([int(official.get(image) == "1") for image in rows]) if official else None,
    )


def _table(archive: Archive, name: str) -> dict[str, str]:
    """Return the second column of a list by the first."""
    table: dict[str, str] = {}
    for line in archive.read(archive.find(name)).decode("utf-8", errors="replace").splitlines():
        key, _, value = line.strip().partition(" ")
        if not key:
            continue
        if not key.isdigit() or not value:
            raise DataError(f"{name} of {archive.path} has the line '{line[:80]}'; it should be a number and a value")
        table[key] = value.strip()
    if not table:
        raise DataError(f"{name} of {archive.path} is empty")
    return table


def _box(line: str, place: Path) -> tuple[int, int, int, int]:
    """Return (left, upper, right, lower) of a line 'x y width height'."""
    try:
        x, y, width, height = (float(value) for value in line.split())
        box = (int(x), int(y), int(x + width), int(y + height))
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"bounding_boxes.txt of {place} has the line '{line[:80]}'; it should be four numbers"
        ) from error
    if box[0] < 0 or box[1] < 0 or box[2] <= box[0] or box[3] <= box[1]:
        raise DataError(f"bounding_boxes.txt of {place} has the empty or outlying box '{line[:80]}'")
    return box
