"""Images in folders, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import Archive, open_archive
from quickstudy.datasets.reading.decoding import SUFFIXES, UNREAD, Fit, decode, mode_of
from quickstudy.datasets.reading.greys import Greys
from quickstudy.datasets.reading.names import legible
from quickstudy.errors import DataError, InputError
from quickstudy.registry import register

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


@register("dataset")
def images(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 84,
    channels: int = 3,
    fit: Fit = "stretch",
    name: str | None = None,
    white: float | None = None,
) -> ClassData:
    """Return the images below a folder, or in a zip or tar archive, with a class for each folder of images.

    The layout is `class/image.png`, or `group/class/image.png` throughout, whose classes are named 'group/class' and
    have the attribute 'group'. Links are followed. Files that are not images by their suffix and hidden files are left
    out. Names that differ only in how their accents are written are one class.

    Args:
        path: folder or archive.
        size: (height, width) of the result, or one number for both.
        channels: 1 for grey, 3 for colour.
        fit: how images of another aspect ratio are treated: 'stretch' them, 'crop' at the centre, or 'pad' with black.
        name: of the data; None means the folder's.
        white: value that is white in greys of more than 8 bits; None takes 65535, and 1.0 of floats. Give 4095 for
            cameras of 12 bits.

    Returns:
        inputs (M, channels, height, width) uint8.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: there is no image, an image lies outside class folders, a class folder has no image, depths are
            mixed, a link leads nowhere, or an image is corrupt, of a kind that is not read, or out of range; the
            message names it.
        InputError: `size`, `channels`, `fit` or `white` is not one of those above.
    """
    shape = _shape(size, fit)
    greys = Greys(white)
    mode_of(channels)
    root = Path(path).expanduser()
    with open_archive(root) as archive:
        files = image_files(archive)
        if not files:
            packed = [each for each in archive.names if each.lower().endswith(_ARCHIVES)]
            inside = f"; unpack '{packed[0]}' first" if packed else ""
            raise DataError(
                f"{root} holds no image; put the images of each class into a folder of its own in it{inside}"
            )
        members: dict[str, str] = {}
        for each in files:
            if "/" not in each:
                raise DataError(f"image '{each}' lies in {root} itself; move it into a folder named after its class")
            members[each] = legible(each.rsplit("/", 1)[0])
        classes = sorted(set(members.values()))
        depths = {each.count("/"): each for each in classes}
        if len(depths) > 1 or max(depths) > 1:
            raise DataError(
                f"{root} has images in {', '.join(repr(each) for each in depths.values())}; use class/image throughout "
                "or group/class/image throughout"
            )
        _refuse_empty(archive, set(classes), max(depths))
        index = {each: i for i, each in enumerate(classes)}
        pixels = np.empty((len(files), channels, *shape), dtype=np.uint8)
        labels = torch.empty(len(files), dtype=torch.long)
        for row, (each, content) in enumerate(archive.read_all(files)):
            pixels[row] = decode(content, f"{root}/{legible(each)}", channels, shape, fit, greys=greys)
            labels[row] = index[members[each]]
    greys.check(str(root))
    grouped = {"group": tuple(each.split("/")[0] for each in classes)} if 1 in depths else {}
    return ClassData(torch.from_numpy(pixels), labels, tuple(classes), name or legible(root.stem), grouped)


def unlabelled(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 84,
    channels: int = 3,
    fit: Fit = "stretch",
    white: float | None = None,
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Return the images at any depth below a folder, or in an archive, read as `images` reads them.

    Args:
        path: folder or archive.
        size: as of `images`.
        channels: as of `images`.
        fit: as of `images`.
        white: as of `images`.

    Returns:
        Q names below the folder, sorted, and (Q, channels, height, width) uint8.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: there is no image, a link leads nowhere, or an image is corrupt, of a kind that is not read, or out
            of range; the message names it.
        InputError: `size`, `channels`, `fit` or `white` is not one of those of `images`.
    """
    shape = _shape(size, fit)
    greys = Greys(white)
    mode_of(channels)
    root = Path(path).expanduser()
    with open_archive(root) as archive:
        files = sorted(image_files(archive))
        if not files:
            raise DataError(f"{root} holds no image ({', '.join(SUFFIXES)})")
        pixels = np.empty((len(files), channels, *shape), dtype=np.uint8)
        rows = {each: row for row, each in enumerate(files)}
        for each, content in archive.read_all(files):
            pixels[rows[each]] = decode(content, f"{root}/{legible(each)}", channels, shape, fit, greys=greys)
    greys.check(str(root))
    return tuple(legible(each) for each in files), pixels


def image_files(archive: Archive) -> list[str]:
    """Return the members that are images by their suffix and not hidden.

    Raises:
        DataError: a link leads nowhere, or an image is of a kind that is not read.
    """
    for each in archive.broken:
        if not _hidden(each):
            raise DataError(f"link {archive.path}/{legible(each)} leads nowhere; mend or remove it")
    found = [each for each in archive.names if not _hidden(each)]
    for each in found:
        if each.lower().endswith(UNREAD):
            kinds = "PNG or JPEG"
            raise DataError(
                f"image {archive.path}/{legible(each)} is of a kind that is not read; convert it to {kinds}"
            )
    return [each for each in found if each.lower().endswith(SUFFIXES)]


def _shape(size: int | tuple[int, int], fit: Fit) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    if min(height, width) < 1:
        raise InputError(f"size must be positive, not {size}")
    if fit not in ("stretch", "crop", "pad"):
        raise InputError(f"fit must be 'stretch', 'crop' or 'pad', not '{fit}'")
    return int(height), int(width)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _refuse_empty(archive: Archive, classes: set[str], depth: int) -> None:
    """Refuse class folders without images: a class that is silently missing would change every result."""
    for each in archive.folders:
        if each.count("/") == depth and not _hidden(each) and legible(each) not in classes:
            raise DataError(f"class folder {archive.path}/{legible(each)} has no image; fill or remove it")
