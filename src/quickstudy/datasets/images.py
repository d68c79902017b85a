"""Images in folders, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import open_archive
from quickstudy.datasets.reading.decoding import SUFFIXES, Fit, decode, mode_of
from quickstudy.errors import DataError, DataNotFoundError, InputError
from quickstudy.registry import register


@register("dataset")
def images(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 84,
    channels: int = 3,
    fit: Fit = "stretch",
    name: str | None = None,
) -> ClassData:
    """Return the images below a folder, or in a zip or tar archive, with a class for each folder of images.

    The layout is `class/image.png`, or `group/class/image.png` throughout, whose classes are named 'group/class' and
    have the attribute 'group'. Files that are not images by their suffix and hidden files are left out.

    Args:
        path: folder or archive.
        size: (height, width) of the result, or one number for both.
        channels: 1 for grey, 3 for colour.
        fit: how images of another aspect ratio are treated: 'stretch' them, 'crop' at the centre, or 'pad' with black.
        name: of the data; None means the folder's.

    Returns:
        inputs (M, channels, height, width) uint8.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: there is no image, an image lies outside class folders, a class folder has no image, depths are
            mixed, or an image is corrupt; the message names it.
        InputError: `size`, `channels` or `fit` is not one of those above.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise InputError(f"size must be positive, not {size}")
    if fit not in ("stretch", "crop", "pad"):
        raise InputError(f"fit must be 'stretch', 'crop' or 'pad', not '{fit}'")
    mode_of(channels)
    root = Path(path).expanduser()
    if not root.exists():
        raise DataNotFoundError(f"there is no folder or archive {root}; check the path")
    with open_archive(root) as archive:
        files = [each for each in archive.names if each.lower().endswith(SUFFIXES) and not _hidden(each)]
        if not files:
            raise DataError(f"{root} holds no image; put the images of each class into a folder of its own in it")
        members: dict[str, str] = {}
        for each in files:
            if "/" not in each:
                raise DataError(f"image '{each}' lies in {root} itself; move it into a folder named after its class")
            members[each] = each.rsplit("/", 1)[0]
        classes = sorted(set(members.values()))
        depths = {each.count("/"): each for each in classes}
        if len(depths) > 1 or max(depths) > 1:
            raise DataError(
                f"{root} has images in {', '.join(repr(each) for each in depths.values())}; use class/image throughout "
                "or group/class/image throughout"
            )
        if root.is_dir():
            _refuse_empty(root, max(depths))
        index = {each: i for i, each in enumerate(classes)}
        pixels = np.empty((len(files), channels, height, width), dtype=np.uint8)
        labels = torch.empty(len(files), dtype=torch.long)
        for row, (each, content) in enumerate(archive.read_all(files)):
            pixels[row] = decode(content, f"{root}/{each}", channels, (height, width), fit)
            labels[row] = index[members[each]]
    grouped = {"group": tuple(each.split("/")[0] for each in classes)} if 1 in depths else {}
    return ClassData(torch.from_numpy(pixels), labels, tuple(classes), name or root.stem, grouped)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _refuse_empty(root: Path, depth: int) -> None:
    """Refuse class folders without images: a class that is silently missing would change every result."""
    for folder in sorted(root.glob("/".join("*" * (depth + 1)))):
        if folder.is_dir() and not _hidden(folder.relative_to(root).as_posix()):
            suffixes = (file.suffix.lower() for file in folder.iterdir() if not file.name.startswith("."))
            if not any(suffix in SUFFIXES for suffix in suffixes):
                raise DataError(f"class folder {folder} has no image; fill or remove it")
