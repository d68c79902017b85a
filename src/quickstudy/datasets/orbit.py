"""ORBIT: videos of their own things that people who are blind or have low vision recorded on a telephone.

Massiceti et al., 'ORBIT: A Real-World Few-Shot Dataset for Teachable Object Recognition', ICCV 2021;
https://github.com/microsoft/ORBIT-Dataset. A task is one person: learn their things from clean videos, one thing on a
plain ground, and recognise them in cluttered ones.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import open_archive
from quickstudy.datasets.reading.decoding import decode
from quickstudy.datasets.reading.files import PublishedFile, find
from quickstudy.errors import DataError, InputError, unknown_name

Mode = Literal["train", "validation", "test"]

_NOTE = "get the ORBIT benchmark from https://city.figshare.com/articles/dataset/_/14294597"
_MEMBER = re.compile(
    r"(?:^|/)(?P<user>[^/]+)/(?P<object>[^/]+)/(?P<clip>clean|clutter)/(?P<video>[^/]+)/[^/]+\.(?:jpg|jpeg|png)$", re.I
)


def orbit(
    path: str | os.PathLike[str] | None = None,
    mode: Mode = "train",
    size: int = 84,
    frames: int = 8,
) -> ClassData:
    """Return frames of the videos of one part of the benchmark.

    Args:
        path: folder of the benchmark, laid out as `mode/user/object/clean or clutter/video/frame.jpg`; or a mode's
            folder, zip or tar archive, laid out as `user/object/...`. None searches for `orbit` as described in
            `quickstudy.datasets.reading.files`.
        mode: 'train', 'validation' or 'test'; their people differ.
        size: height and width.
        frames: at most so many of each video, evenly spaced; the benchmark has 2.7 million in all.

    Returns:
        inputs (M, 3, size, size) uint8; classes 'user/object', attributes 'user' and 'object'. `source` tells the
        video and the kind of clip: video v of all is 2 v if clean and 2 v + 1 if cluttered, so that `source % 2` is 0
        for support and 1 for query rows in the benchmark's tasks.

    Raises:
        DataNotFoundError: nothing was found; the message says what to put where.
        DataError: no video lies there, or a frame is corrupt.
        InputError: an argument is out of range.
    """
    if mode not in get_args(Mode):
        raise unknown_name("mode", mode, get_args(Mode))
    if size < 1 or frames < 1:
        raise InputError(f"size and frames must be positive, not {size} and {frames}")
    place = find(PublishedFile("orbit", note=_NOTE)) if path is None else path
    with open_archive(place) as archive:
        modes = {part for name in archive.names for part in name.split("/")[:-5] if part in get_args(Mode)}
        named = Path(place).name.split(".")[0]
        if not modes and named in get_args(Mode) and named != mode:
            raise InputError(f"path {place} is the part '{named}' and mode is '{mode}'; make them agree")
        videos: dict[tuple[str, str, str, str], list[str]] = {}
        for name in archive.names:
            match = _MEMBER.search(name)
            # A folder that names modes holds several; one that names none is taken to be the mode asked for.
            if match and (not modes or mode in name.split("/")[:-5]):
                key = (match["user"], match["object"], match["clip"].lower(), match["video"])
                videos.setdefault(key, []).append(name)
        if not videos:
            raise DataError(f"{place} holds no frame of '{mode}' named user/object/clean or clutter/video/frame.jpg")
        rows: dict[str, tuple[str, int]] = {}
        for number, key in enumerate(sorted(videos)):
            names = sorted(videos[key])
            spaced = np.unique(np.linspace(0, len(names) - 1, min(frames, len(names))).round().astype(int))
            for i in spaced.tolist():
                rows[names[i]] = (f"{key[0]}/{key[1]}", 2 * number + (key[2] == "clutter"))
        classes = sorted({name for name, _ in rows.values()})
        index = {name: i for i, name in enumerate(classes)}
        pixels = np.empty((len(rows), 3, size, size), dtype=np.uint8)
        labels, source = torch.empty(len(rows), dtype=torch.long), torch.empty(len(rows), dtype=torch.long)
        for row, (name, content) in enumerate(archive.read_all(rows)):
            pixels[row] = decode(content, f"{place}: {name}", 3, size)
            labels[row], source[row] = index[rows[name][0]], rows[name][1]
    return ClassData(
        inputs=torch.from_numpy(pixels),
        labels=labels,
        classes=tuple(classes),
        name=f"orbit {mode}",
        attributes={
            "user": tuple(name.split("/")[0] for name in classes),
            "object": tuple(name.split("/")[1] for name in classes),
        },
        source=source,
    )
