"""Glyphs: thousands of characters drawn in many typefaces, a few-shot data set that every installation has.

Classes are characters, examples are drawings of one in up to 16 typefaces (DejaVu Sans, Mono and Serif and STIX
General, each regular, bold, slanted and both), which matplotlib ships under free licences. Each drawing is rotated,
scaled, sheared, moved, bent and made bolder or lighter at random, so that one-shot recognition by comparing pixels
fails and must be learned. Characters that look alike once drawn, such as Latin A, Greek Alpha and Cyrillic A, are one
class, so that a split by script has no class in two parts.

Similar in spirit to Omniglot (Lake, Salakhutdinov and Tenenbaum, 'Human-level concept learning through probabilistic
program induction', Science 350, 2015), with typefaces in place of people.
"""

from __future__ import annotations

import functools
import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from PIL import Image, ImageFont
from torch import Tensor
from torch.nn import functional as F

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.files import cached
from quickstudy.errors import InputError, unknown_name
from quickstudy.registry import register

FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
"""File names, without '.ttf', of the faces; `ClassData.source` counts along this tuple."""

SCRIPTS = (
    *("LATIN", "GREEK", "CYRILLIC", "GEORGIAN", "ARMENIAN", "LAO"),  # letters in at least 8 faces
    *("CANADIAN", "ARABIC", "HEBREW", "OLD ITALIC", "COPTIC"),  # in 4 faces or more
    *("ARROW", "OPERATOR", "SYMBOL"),  # not letters; in at least 8 faces
)
"""Values of the attribute 'script'."""

# Bump when a change here changes the pictures: cached ones are then drawn again.
_VERSION = 1
_LEAST_FACES = 4
_LEAST_FACES_SYMBOL = 8
_ALIKE = 0.5
# Distinguished by where dots and bars lie in a fixed cell, which centring removes.
_POSITIONAL = ("BRAILLE", "BOX DRAWINGS", "BLOCK", "LOWER", "UPPER", "LEFT", "RIGHT", "QUADRANT")
_POINTS = 96


@register("dataset")
def glyphs(
    size: int = 28,
    seed: int = 0,
    examples: int = 20,
    scripts: Sequence[str] | None = None,
    cache: bool = True,
) -> ClassData:
    """Return characters drawn in many typefaces.

    The first call takes well under a minute and stores its result in the user's cache. Pictures are a pure function
    of the arguments and of the installed versions of matplotlib's fonts and FreeType: a character's drawings do not
    depend on which scripts or how many examples are asked for.

    Args:
        size: height and width of the pictures.
        seed: of the random deformations.
        examples: drawings of each class. They go through the faces that have the character in a shuffled order, and
            through them again with new deformations if there are more drawings than faces: letters of Canadian
            syllabics, Arabic, Hebrew, Old Italic and Coptic are in 4 faces only.
        scripts: some of `SCRIPTS`; None means all.
        cache: keep and use a copy on disk.

    Returns:
        White (255) ink on black, inputs (M, 1, size, size) uint8; classes named as Unicode names them; attributes
        'script' and 'case' ('upper', 'lower' or 'none'); `source` is the face, an index of `FACES`.

    Raises:
        InputError: an argument is out of range or a script is unknown.

    Examples:
        >>> train, val, test = glyphs(scripts=("GREEK", "ARMENIAN", "GEORGIAN")).split(by="script")
        >>> tuple(test.inputs.shape[1:])
        (1, 28, 28)
    """
    if not 8 <= size <= 256:
        raise InputError(f"size must lie in 8..256, not {size}")
    if not 1 <= examples <= 1000:
        raise InputError(f"examples must lie in 1..1000, not {examples}")
    wanted = SCRIPTS if scripts is None else tuple(scripts)
    for script in wanted:
        if script not in SCRIPTS:
            raise unknown_name("script", script, SCRIPTS)
    parameters = {
        "glyphs": _VERSION,
        "size": size,
        "seed": seed,
        "examples": examples,
        "scripts": sorted(set(wanted)),
        "fonts": matplotlib.__version__,
    }

    def make() -> ClassData:
        return _make(size, seed, examples, frozenset(wanted))

    return cached("glyphs", parameters, make) if cache else make()


def _script(character: str) -> str | None:
    """Return the script of a character, or None if it is not part of the data."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category in ("Lu", "Ll", "Lt", "Lo"):
        script = "OLD ITALIC" if name.startswith("OLD ITALIC") else name.split(" ")[0]
        return script if script in SCRIPTS else None
    if category in ("So", "Sm", "Sc") and not name.startswith(_POSITIONAL):
        return "ARROW" if "ARROW" in name else "OPERATOR" if category == "Sm" else "SYMBOL"
    return None


@functools.cache
def _repertoire() -> dict[str, list[int]]:
    """Return the faces of each character that is in enough of them and looks like no earlier one."""
    faces: dict[str, list[int]] = {}
    for index, face in enumerate(FACES):
        with TTFont(_face_path(face), lazy=True) as font:
            for code in font.getBestCmap():
                faces.setdefault(chr(code), []).append(index)
    kept = []
    for character in sorted(faces):
        script = _script(character)
        letters = script not in ("ARROW", "OPERATOR", "SYMBOL")
        if script and len(faces[character]) >= (_LEAST_FACES if letters else _LEAST_FACES_SYMBOL):
            kept.append(character)
    # Duplicates are found among all scripts, whichever are asked for, so that a class never depends on the others.
    return {character: faces[character] for character in _distinct(kept, faces)}


def _face_path(face: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


class _Pen:
    """Draws characters upright, centred and filling a square; sizes differ between scripts and carry no class."""

    def __init__(self, side: int, fill: float) -> None:
        self.side = side
        self.fill = max(1, round(side * fill))
        # The basic layout draws one code point as one glyph whether or not the optional Raqm library is there.
        engine = ImageFont.Layout.BASIC
        self.fonts = [ImageFont.truetype(os.fspath(_face_path(face)), _POINTS, layout_engine=engine) for face in FACES]

    def draw(self, character: str, face: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Return (side, side) ink, 255 where it is full; all zero for an empty glyph."""
        canvas = Image.new("L", (self.side, self.side))
        mask = self.fonts[face].getmask(character, mode="L")
        ink = Image.frombytes("L", mask.size, bytes(mask)) if all(mask.size) else canvas
        box = ink.getbbox()
        if box is not None:
            width, height = box[2] - box[0], box[3] - box[1]
            scale = self.fill / max(width, height)
            new = (max(1, round(width * scale)), max(1, round(height * scale)))
            ink = ink.resize(new, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR, box=box)
            canvas.paste(ink, ((self.side - new[0]) // 2, (self.side - new[1]) // 2))
        return np.asarray(canvas)


def _distinct(characters: Sequence[str], faces: dict[str, list[int]]) -> list[str]:
    """Drop characters that look like an earlier one in some face that both have.

    Two look alike if their clean drawings, slightly blurred, differ nowhere by more than `_ALIKE`: a missing dot or
    accent differs much in one place, a stroke's width differs little everywhere.
    """
    side = 24
    pen = _Pen(side, fill=0.84)
    alike = torch.zeros(len(characters), len(characters), dtype=torch.bool)
    # One upright sans and one serif face suffice: others are slanted or bold copies of these.
    for face in (FACES.index("DejaVuSans"), FACES.index("STIXGeneral")):
        index = torch.tensor([i for i, character in enumerate(characters) if face in faces[character]])
        if not len(index):
            continue
        drawings = np.stack([pen.draw(characters[i], face) for i in index.tolist()])
        blurred = _blur(torch.from_numpy(drawings)[:, None].float() / 255, 1.0).flatten(1)
        blank = blurred.amax(1) < 0.05
        # The greatest difference between two drawings is their distance in the maximum norm.
        close = torch.cdist(blurred, blurred, p=math.inf) < _ALIKE
        close[blank] = close[:, blank] = False
        alike[index[:, None], index] |= close
    kept: list[int] = []
    for i in range(len(characters)):
        if not kept or not alike[i, kept].any():
            kept.append(i)
    return [characters[i] for i in kept]


def _make(size: int, seed: int, examples: int, scripts: frozenset[str]) -> ClassData:
    faces = _repertoire()
    characters = [c for c in faces if _script(c) in scripts]
    pen = _Pen(2 * size, fill=0.66)  # deformed at twice the size, then averaged down
    pictures, labels, source = [], [], []
    classes: list[str] = []
    for character in characters:
        clean = {face: pen.draw(character, face) for face in faces[character]}
        inked = [face for face in faces[character] if clean[face].any()]
        if len(inked) < _LEAST_FACES:
            continue
        # A generator a class, keyed by its code point, makes drawings independent of what else is drawn.
        random = np.random.Generator(np.random.Philox(key=[seed, ord(character)]))
        order = random.permutation(inked)
        draws = torch.from_numpy(random.random((examples, _Deformation.NUMBERS)))
        used = [int(order[i % len(order)]) for i in range(examples)]
        drawings = torch.from_numpy(np.stack([clean[face] for face in used]))[:, None]
        pictures.append(_deform(drawings.float() / 255, draws.float()))
        labels.append(torch.full((examples,), len(classes)))
        source.append(torch.tensor(used))
        classes.append(character)
    return ClassData(
        inputs=torch.cat(pictures),
        labels=torch.cat(labels),
        classes=tuple(unicodedata.name(character) for character in classes),
        name="glyphs",
        attributes={
            "script": tuple(str(_script(character)) for character in classes),
            "case": tuple({"Lu": "upper", "Ll": "lower"}.get(unicodedata.category(c), "none") for c in classes),
        },
        source=torch.cat(source),
    )


class _Deformation:
    """How far drawings are deformed. Lengths are fractions of half the picture's side, angles radians."""

    ROTATION = 0.3
    SCALE = 0.25
    SHEAR = 0.25
    SHIFT = 0.15
    BEND = 0.1
    KNOTS = 4
    WEIGHT = (0.25, 0.6)
    NUMBERS = 7 + 2 * KNOTS * KNOTS


def _deform(drawings: Tensor, draws: Tensor) -> Tensor:
    """Return deformed copies of clean drawings at half their size.

    Args:
        drawings: (M, 1, 2 size, 2 size) ink in [0, 1].
        draws: (M, NUMBERS) uniform random numbers in [0, 1).

    Returns:
        (M, 1, size, size) uint8.
    """
    d = _Deformation
    rows, side = len(drawings), drawings.shape[-1]
    signed = 2 * draws - 1
    angle, shear = d.ROTATION * signed[:, 0], d.SHEAR * signed[:, 1]
    scale_x, scale_y = torch.exp(d.SCALE * signed[:, 2]), torch.exp(d.SCALE * signed[:, 3])
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Rows map the new picture's coordinates back to the clean one's: rotation, then shear, then scale.
    affine = torch.stack(
        [
            torch.stack([(cos + shear * sin) / scale_x, (shear * cos - sin) / scale_x, d.SHIFT * signed[:, 4]], 1),
            torch.stack([sin / scale_y, cos / scale_y, d.SHIFT * signed[:, 5]], 1),
        ],
        1,
    )
    grid = F.affine_grid(affine, [rows, 1, side, side], align_corners=False)
    knots = d.BEND * signed[:, 7:].view(rows, 2, d.KNOTS, d.KNOTS)
    bend = F.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)
    bent = F.grid_sample(drawings, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    # A threshold on blurred ink moves the outline: low ones make it bold, high ones light.
    blurred = _blur(bent, side / 40)
    blurred = blurred / blurred.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    low, high = d.WEIGHT
    threshold = (low + (high - low) * draws[:, 6]).view(-1, 1, 1, 1)
    ink = torch.sigmoid((blurred - threshold) * 20)
    return (F.avg_pool2d(ink, 2) * 255).round().to(torch.uint8)


def _blur(pictures: Tensor, sigma: float) -> Tensor:
    """Return pictures (M, 1, H, W) after a Gaussian blur of `sigma` pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=pictures.dtype) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    rows = F.conv2d(pictures, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(radius, 0))
