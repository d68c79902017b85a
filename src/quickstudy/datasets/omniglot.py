"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov and Tenenbaum, 'Human-level concept learning through probabilistic program induction', Science 350,
2015; files from https://github.com/brendenlake/omniglot under the MIT licence. The split for few-shot learning is that
of Vinyals et al., 'Matching Networks for One Shot Learning', NeurIPS 2016, as listed in
https://github.com/jakesnell/prototypical-networks.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps

from quickstudy.datasets.base import ClassData, with_rotations
from quickstudy.datasets.joining import join
from quickstudy.datasets.reading.archives import open_archive
from quickstudy.datasets.reading.files import PublishedFile, cached, find, sha256
from quickstudy.errors import DataError, DataNotFoundError, InputError, unknown_name
from quickstudy.registry import register

Subset = Literal["background", "evaluation", "small1", "small2", "all"]

_SITE = "https://github.com/brendenlake/omniglot/raw/master/python"
_FILES = {
    "background": "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    "evaluation": "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
    "background_small1": "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
    "background_small2": "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
}
_LISTS_SITE = "https://raw.githubusercontent.com/jakesnell/prototypical-networks/master/data/omniglot/splits/vinyals"
_LISTS = {
    "train": "984522c194c30fb678ce53304a160a42faf5403ad4f9a67010f32dd3a35738e0",
    "val": "11f99e54faee3e26f53d3231c1cceac5bf7b8730e9be31cb6dab256551dc0c1a",
    "test": "845264cc5c156180828ccf17915668b17ee21424d0170df6e7d81676aa5d1204",
}
_MEMBER = re.compile(r"(?:^|/)(?P<alphabet>[^/]+)/(?P<character>character\d+)/\d+_(?P<drawer>\d+)\.png$")


@register("dataset")
def omniglot(
    path: str | os.PathLike[str] | None = None,
    size: int = 28,
    subset: Subset = "background",
    cache: bool = True,
) -> ClassData:
    """Return Omniglot's drawings.

    The official split is `subset='background'` (30 alphabets, 964 classes) for meta-training and
    `subset='evaluation'` (20 alphabets, 659 classes) for meta-testing; `.split(by='alphabet')` keeps alphabets whole.

    Args:
        path: the subset's zip file, a folder that holds it, or its extracted folder; None searches as described in
            `quickstudy.datasets.reading.files`. A copy reduced to 32 pixels, `images_background_32.zip`, serves too.
        size: height and width; drawings are reduced by averaging over areas.
        subset: 'small1' and 'small2' are the official minimal background sets, of 5 alphabets each.
        cache: keep and use decoded pictures on disk.

    Returns:
        White (255) ink on black, inputs (M, 1, size, size) uint8; classes 'ALPHABET/characterNN'; attribute
        'alphabet'; `source` is the drawer, 1..20, the same person throughout an alphabet only.

    Raises:
        DataNotFoundError: no copy was found or downloaded.
        DataError: the archive or a drawing is corrupt.
        InputError: the size or subset is not one of those above.
    """
    if subset not in get_args(Subset):
        raise unknown_name("subset", subset, get_args(Subset))
    if not 1 <= size <= 1024:
        raise InputError(f"size must lie in 1..1024, not {size}")
    if subset == "all":
        halves: tuple[Subset, ...] = ("background", "evaluation")
        return join([replace(omniglot(path, size, half, cache), name=half) for half in halves], "omniglot", by="set")
    stem = f"background_{subset}" if subset.startswith("small") else subset
    full = PublishedFile(f"omniglot/images_{stem}.zip", f"{_SITE}/images_{stem}.zip", _FILES[stem])
    options = [full, PublishedFile(f"omniglot/images_{stem}")]
    if subset == "background":
        options.insert(1, PublishedFile("omniglot/images_background_32.zip"))
    place = find(options, path)
    if not cache or place.is_dir():
        return _read(place, size)
    return cached("omniglot", {"omniglot": 1, "size": size, "sha256": sha256(place)}, lambda: _read(place, size))


@register("dataset")
def omniglot_vinyals(
    path: str | os.PathLike[str] | None = None,
    size: int = 28,
    subset: Literal["all", "background"] = "all",
    rotations: bool = True,
    cache: bool = True,
) -> tuple[ClassData, ...]:
    """Return Omniglot split as by Vinyals et al. (2016) and most work since.

    The published lists name 1,028 training, 172 validation and 423 test classes, each of which counts as 4 classes by
    rotation (Santoro et al. 2016). They mix alphabets of both official sets.

    Args:
        path: folder that holds the zip files and lists, laid out as in `datasets.reading.files`; None searches.
        size: height and width.
        subset: 'all' needs the background and evaluation files and returns (train, validation, test). 'background'
            needs only the former, of whose classes 792 are in the training list, 172 in the validation list and none
            in the test list: it returns (train, validation).
        rotations: whether rotations by 90, 180 and 270 degrees are classes of their own.
        cache: keep and use decoded pictures on disk.

    Raises:
        DataNotFoundError: a file was neither found nor downloaded.
        DataError: none of a list's classes is in the files.
    """
    if subset not in ("all", "background"):
        raise unknown_name("subset", subset, ("all", "background"))
    try:
        data = omniglot(path, size, subset, cache)
    except DataNotFoundError as error:
        if subset == "background":
            raise
        raise DataNotFoundError(
            f"{error}. Without the evaluation file, subset='background' gives 792 training and 172 validation classes"
        ) from error
    known = set(data.classes)
    parts = []
    for name in ("train", "val", "test") if subset == "all" else ("train", "val"):
        lines = _list(name, path).read_text(encoding="ascii", errors="replace").split("\n")
        # A line is 'Alphabet/character01/rot090'; every class has all four, so the rotation can be left off.
        listed = dict.fromkeys(line.rsplit("/", 1)[0] for line in lines if line.count("/") == 2)
        classes = [each for each in listed if each in known]
        if not classes:
            raise DataError(f"none of the {len(listed)} classes of the list '{name}' is in {data!r}")
        part = data.subset(classes, name=f"omniglot {name}")
        parts.append(with_rotations(part) if rotations else part)
    return tuple(parts)


def _list(name: str, path: str | os.PathLike[str] | None) -> Path:
    listed = PublishedFile(f"omniglot/splits_vinyals/{name}.txt", f"{_LISTS_SITE}/{name}.txt", _LISTS[name])
    if path is not None:
        folder = Path(path).expanduser()
        folder = folder if folder.is_dir() else folder.parent
        for candidate in (folder / "splits_vinyals" / listed.name, folder / listed.path):
            if candidate.is_file():
                return candidate
    return find(listed)


def _read(place: Path, size: int) -> ClassData:
    """Read all drawings of an archive or folder."""
    with open_archive(place) as archive:
        found = {name: match for name in sorted(archive.names) if (match := _MEMBER.search(name))}
        if not found:
            raise DataError(f"{place} holds no drawing named ALPHABET/characterNN/CCCC_DD.png; is it Omniglot's?")
        classes = sorted({f"{match['alphabet']}/{match['character']}" for match in found.values()})
        index = {name: i for i, name in enumerate(classes)}
        pictures = np.empty((len(found), 1, size, size), dtype=np.uint8)
        labels, source = np.empty(len(found), dtype=np.int64), np.empty(len(found), dtype=np.int64)
        for row, (name, match) in enumerate(found.items()):
            pictures[row, 0] = _drawing(archive.read(name), f"{place}: {name}", size)
            labels[row] = index[f"{match['alphabet']}/{match['character']}"]
            source[row] = int(match["drawer"])
    return ClassData(
        inputs=torch.from_numpy(pictures),
        labels=torch.from_numpy(labels),
        classes=tuple(classes),
        name="omniglot",
        attributes={"alphabet": tuple(name.split("/")[0] for name in classes)},
        source=torch.from_numpy(source),
    )


def _drawing(content: bytes, where: str, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return (size, size) white ink on black."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) > 1024:
                raise DataError(f"{where} is {image.width} x {image.height}; Omniglot's drawings are 105 x 105")
            ink = ImageOps.invert(image.convert("L"))
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where} is not a readable PNG ({error}); download the archive again") from error
    return np.asarray(ink.resize((size, size), Image.Resampling.BOX))
