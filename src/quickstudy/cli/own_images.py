"""How do a user's images become rows of a learner's net?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from quickstudy.core import Learner
from quickstudy.datasets.images import image_files, images, unlabelled
from quickstudy.datasets.reading.archives import open_archive
from quickstudy.datasets.reading.decoding import SUFFIXES, decode
from quickstudy.errors import DataError, InputError
from quickstudy.functional.names import composed
from quickstudy.nets import Drawings

WHITE_ON_BLACK = ("glyphs", "omniglot")
"""Data of drawings with white ink on black."""
Fit = Literal["stretch", "crop"]
Invert = Literal["auto", "yes", "no"]


class Rows(NamedTuple):
    """Rows for a net.

    Attributes:
        inputs: (M, ...) numbers.
        names: of the M files or rows.
        labels: class of each, None where it is not known.
    """

    inputs: Tensor
    names: tuple[str, ...]
    labels: tuple[str | None, ...]


@dataclass(frozen=True)
class OwnImages:
    """How images are read.

    Attributes:
        channels: 1 for grey, 3 for colour.
        height: in pixels.
        width: in pixels.
        fit: how images that are not square are fitted.
        invert: swap black and white; 'auto' does so for images that are light on the whole.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "stretch"
    invert: Invert = "no"

    what: ClassVar[Literal["file"]] = "file"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `OwnImages(**values)` is made again."""
        return asdict(self)

    def support(self, path: Path, remarks: list[str]) -> Rows:
        """Return the images of a folder or archive of class folders, and say in `remarks` what was done to them."""
        data = images(path, (self.height, self.width), self.channels, self.fit)
        if len(data.classes) < 2:
            raise InputError(f"{path} has one class; give a folder for each of two or more classes")
        labels = tuple(data.classes[i] for i in data.labels.tolist())
        with open_archive(path) as archive:
            names = image_files(archive)
        names.sort(key=lambda each: composed(each.rpartition("/")[0]))
        if tuple(composed(each.rpartition("/")[0]) for each in names) != tuple(map(composed, labels)):
            names = list(labels)  # where files lie is told at least by their class
        return Rows(self._prepared(data.inputs, "support", remarks), tuple(names), labels)

    def queries(self, path: Path, classes: Iterable[str], remarks: list[str]) -> Rows:
        """Return the images at or below a path, in order of their names."""
        spelled = {composed(name): name for name in classes}
        if path.is_file() and path.name.lower().endswith(SUFFIXES):
            files: tuple[str, ...] = (path.name,)
            pixels = self._decoded(path)[None]
        else:
            files, pixels = unlabelled(path, (self.height, self.width), self.channels, self.fit)
        labels = tuple(spelled.get(composed(Path(each).parent.as_posix())) for each in files)
        return Rows(self._prepared(torch.from_numpy(pixels), "query", remarks), files, labels)

    def _decoded(self, path: Path) -> np.ndarray[Any, Any]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        return decode(content, str(path), self.channels, (self.height, self.width), self.fit)

    def _prepared(self, pixels: Tensor, label: str, remarks: list[str]) -> Tensor:
        """Return images (M, C, H, W) in [0, 1], paper-like ones inverted, and add to `remarks` what was seen."""
        values = pixels.float() / 255
        light = values.flatten(1).mean(1) > 0.5
        always = self.invert == "yes"
        swapped = torch.ones_like(light) if always else light & (self.invert == "auto")
        values = torch.where(swapped.reshape(-1, 1, 1, 1), 1 - values, values)
        if bool(swapped.any()):
            why = "" if always else ", which look like dark ink on light paper (--invert no leaves them)"
            remarks.append(f"inverted {int(swapped.sum())} of {len(values)} {label} images{why}")
        flat = values.flatten(1)
        faint = int((flat.amax(1) - flat.amin(1) < 0.2).sum())
        if faint:
            remarks.append(
                f"{faint} of {len(values)} {label} images are almost blank at {values.shape[-1]} x {values.shape[-2]} "
                "pixels; crop them to the drawing, or draw with thicker strokes"
            )
        return values


def images_for(learner: Learner | None, size: int | None, fit: Fit, invert: Invert, data: str) -> OwnImages:
    """Return how a learner's net reads images.

    Args:
        learner: a classifier of images; None is one that compares pixels.
        size: height and width; None takes the net's own.
        fit: how images that are not square are fitted.
        invert: as of `OwnImages`; 'auto' is for nets that learned from white ink on black.
        data: name of the data that the learner was trained on.

    Raises:
        InputError: the net does not read images, or none of this size.
    """
    channels, edge = (3, size or 32) if learner is None else image_shape(learner, size)
    # nets.Drawings sees by itself what is ink.
    white = bool(set(re.split(r"\W+", data)) & set(WHITE_ON_BLACK)) and not takes_drawings(learner)
    if invert == "auto" and not (channels == 1 and white):
        invert = "no"
    return OwnImages(channels, edge, edge, fit, invert)


def image_shape(learner: Learner, size: int | None) -> tuple[int, int]:
    """Return the channels and the edge of the images that a learner's net reads."""
    if takes_drawings(learner):
        return 1, size or 84
    for module in learner.modules():
        channels, edge = getattr(module, "channels", None), getattr(module, "size", None)
        if isinstance(channels, int) and isinstance(edge, int):
            if size not in (None, edge):
                raise InputError(f"the run's net reads images of {edge} pixels; leave --size out")
            return channels, edge
    for module in learner.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels, size or 84
    raise InputError(f"{type(learner).__name__} of this run does not read images, so there is nothing to adapt it to")


def takes_drawings(learner: Learner | None) -> bool:
    """Return whether a learner's net sees by itself what is ink, whatever the size and the colours."""
    return learner is not None and any(isinstance(each, Drawings) for each in learner.modules())
