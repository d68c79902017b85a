"""miniImageNet: 100 classes of ImageNet with 600 images each, at 84 x 84.

Vinyals et al., 'Matching Networks for One Shot Learning', NeurIPS 2016; the split into 64, 16 and 20 classes is that of
Ravi and Larochelle, 'Optimization as a Model for Few-Shot Learning', ICLR 2017, whose lists are in
https://github.com/twitter-research/meta-learning-lstm/tree/master/data/miniImagenet.
"""

from __future__ import annotations

import csv
import io
import os

import numpy as np
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import Archive, open_archive
from quickstudy.datasets.reading.decoding import decode
from quickstudy.datasets.reading.files import PublishedFile, find
from quickstudy.datasets.reading.pickles import array_of, load_pickle
from quickstudy.errors import DataError, InputError
from quickstudy.registry import register

_NOTE = (
    "ImageNet's licence allows no direct download: make miniImageNet from ImageNet (image-net.org) and the lists in "
    "github.com/twitter-research/meta-learning-lstm"
)
_PARTS = ("train", "val", "test")


@register("dataset")
def mini_imagenet(path: str | os.PathLike[str] | None = None, size: int = 84) -> tuple[ClassData, ClassData, ClassData]:
    """Return miniImageNet as meta-train, -validation and -test data.

    Args:
        path: a folder, zip or tar archive that holds either `train.csv`, `val.csv` and `test.csv` (a header
            `filename,label`, then a line an image) and the images, named as in the lists, in any folders; or the
            pickles `mini-imagenet-cache-train.pkl`, `-val.pkl` and `-test.pkl`, which are read without running any
            code in them. None searches for `mini_imagenet` as described in `quickstudy.datasets.reading.files`.
        size: height and width.

    Returns:
        Three parts, inputs (M, 3, size, size) uint8; classes are WordNet identifiers such as 'n01532829'.

    Raises:
        DataNotFoundError: nothing was found; the message says what to put where.
        DataError: a list, an image or a pickle is missing or corrupt, or a class is in two lists.
        InputError: the size is not positive.
    """
    if size < 1:
        raise InputError(f"size must be positive, not {size}")
    options = [PublishedFile(f"mini_imagenet{suffix}", note=_NOTE) for suffix in ("", ".zip", ".tar", ".tar.gz")]
    place = find(options, path) if path is None else path
    with open_archive(place) as archive:
        # By basename: copies differ in whether images lie in one folder or in a folder a class.
        names: dict[str, str] = {}
        for name in archive.names:
            # An empty name marks what several folders hold: it cannot be told which one a list means.
            base = name.rsplit("/", 1)[-1]
            names[base] = "" if base in names else name
        pickled = "mini-imagenet-cache-train.pkl" in names
        read = _from_pickle if pickled else _from_list
        parts = [read(archive, names, part, size) for part in _PARTS]
    seen: dict[str, str] = {}
    for part, data in zip(_PARTS, parts, strict=True):
        for name in data.classes:
            if name in seen:
                raise DataError(f"class '{name}' of {place} is in both {seen[name]} and {part}; parts must be disjoint")
            seen[name] = part
    return parts[0], parts[1], parts[2]


def _from_list(archive: Archive, names: dict[str, str], part: str, size: int) -> ClassData:
    """Read the images that a list names."""
    where = f"{part}.csv of {archive.path}"
    if f"{part}.csv" not in names:
        raise DataError(f"{archive.path} holds neither {part}.csv nor mini-imagenet-cache-{part}.pkl; {_NOTE}")
    text = archive.read(names[f"{part}.csv"]).decode("utf-8", errors="replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {"filename", "label"} <= set(rows[0]):
        raise DataError(f"{where} must have a header 'filename,label' and a line for each image")
    labels: dict[str, str] = {}
    for row in rows:
        name = names.get(row["filename"] or "")
        if name is None:
            raise DataError(f"{where} names '{row['filename']}', which is missing")
        if not name:
            raise DataError(f"{where} names '{row['filename']}', which lies in several folders; keep one")
        labels[name] = row["label"]
    classes = sorted(set(labels.values()))
    index = {name: i for i, name in enumerate(classes)}
    pixels = np.empty((len(labels), 3, size, size), dtype=np.uint8)
    targets = torch.empty(len(labels), dtype=torch.long)
    for row_index, (name, content) in enumerate(archive.read_all(labels)):
        pixels[row_index] = decode(content, f"{archive.path}/{name}", 3, size)
        targets[row_index] = index[labels[name]]
    return ClassData(torch.from_numpy(pixels), targets, tuple(classes), f"mini_imagenet {part}")


def _from_pickle(archive: Archive, names: dict[str, str], part: str, size: int) -> ClassData:
    """Read the arrays `image_data` (M, 84, 84, 3) and `class_dict`, which maps a class to its rows."""
    file = f"mini-imagenet-cache-{part}.pkl"
    if file not in names:
        raise DataError(f"{archive.path} lacks {file}")
    where = f"{archive.path}/{names[file]}"
    content = load_pickle(archive.read(names[file]), where)
    pixels = array_of(content, "image_data", where, 4)
    table = content.get("class_dict")
    if not isinstance(table, dict) or pixels.shape[-1] != 3:
        raise DataError(f"{where} must hold 'image_data' (M, height, width, 3) and a dictionary 'class_dict'")
    labels = np.full(len(pixels), -1, dtype=np.int64)
    classes = sorted(map(str, table))
    for label, name in enumerate(classes):
        rows = np.asarray(table[name])
        listed = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) > 0
        if not listed or rows.min() < 0 or rows.max() >= len(pixels):
            raise DataError(f"class '{name}' of {where} names rows that are not in 'image_data'")
        labels[rows] = label
    inputs = torch.from_numpy(np.ascontiguousarray(pixels[labels >= 0].transpose(0, 3, 1, 2)))
    if inputs.shape[-2:] != (size, size):
        # In parts, since all images as floats may not fit into memory.
        inputs = torch.cat(
            [
                torch.nn.functional.interpolate(some.float(), (size, size), mode="bilinear", antialias=True)
                .round()
                .clamp(0, 255)
                .to(torch.uint8)
                for some in torch.split(inputs, 256)
            ]
        )
    return ClassData(inputs, torch.from_numpy(labels[labels >= 0]), tuple(classes), f"mini_imagenet {part}")
