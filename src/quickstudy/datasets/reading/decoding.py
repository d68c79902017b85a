"""Turn image files, and images that PIL holds, into arrays of 8 bits and of one size."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quickstudy.datasets.reading.greys import Greys
from quickstudy.errors import DataError, InputError

Fit = Literal["stretch", "crop", "pad"]

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Names of files taken for images."""

UNREAD = (".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".dcm")
"""Names of files that are images, but of kinds that are not read."""

# PIL would try many more on whatever it is given; that for PostScript starts another program.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
_MOST_PIXELS = 100_000_000
_MOST_BYTES = 4 * _MOST_PIXELS
_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 4, "PA": 4, "La": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_STRIP = 4_000_000
_SEE_THROUGH = ("RGBA", "LA", "PA", "La", "RGBa")
_GREY = ("1", "L", "LA", "La", "I", "F")


def decode(
    content: bytes,
    where: str,
    channels: int = 3,
    size: int | tuple[int, int] | None = None,
    fit: Fit = "stretch",
    box: tuple[int, int, int, int] | None = None,
    greys: Greys | None = None,
) -> NDArray[np.uint8]:
    """Return an image as numbers of 8 bits.

    The camera's EXIF rotation is applied, palettes are resolved, and transparent parts become white. Of several images
    in a file, the first is read. `Greys` says how 16-bit, 32-bit and floating greys become 8 bits.

    Args:
        content: of the file, which is a PNG, JPEG, BMP, GIF, TIFF, WebP or PPM, whatever its name.
        where: what messages call it.
        channels: 1 for grey, 3 for red, green and blue.
        size: (height, width), or one number for both; None keeps the image's own.
        fit: how another aspect ratio is treated: 'stretch' it, 'crop' at the centre, or 'pad' with black.
        box: (left, upper, right, lower) pixels to crop to first.
        greys: None takes the full range of the image's kind.

    Returns:
        (channels, height, width) uint8.

    Raises:
        DataError: the file is corrupt, truncated, of another format, has more than 100 million pixels or 400 million
            bytes, or its greys are out of range.
    """
    mode = mode_of(channels)
    greys = greys or Greys()
    opened = _open(content, where)
    # Known before the pixels are read only: PIL keeps the upper 8 bits of colours.
    deep = opened.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(opened, "tile", ""))
    image = _flat(_loaded(opened, where), where, greys)
    if deep:
        greys.note_colours(image, where)
    image = image.convert(mode)
    if box is not None:
        image = image.crop(box)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        filtering = Image.Resampling.BILINEAR  # with antialiasing, as PIL always does
        if fit == "crop":
            image = ImageOps.fit(image, (width, height), filtering)
        elif fit == "pad":
            image = ImageOps.pad(image, (width, height), filtering)
        else:
            image = image.resize((width, height), filtering)
    return _array(image)


def pixels_of(image: Image.Image, where: str, greys: Greys | None = None) -> NDArray[np.uint8]:
    """Return an image that PIL holds as `decode` returns a file, of one channel if it is grey and else of three.

    Raises:
        DataError: its file turns out to be corrupt, it is too large, or its greys are out of range.
    """
    grey = image.mode in _GREY or image.mode.startswith("I;16")
    return _array(_flat(_loaded(image, where), where, greys or Greys()).convert("L" if grey else "RGB"))


def decode_indices(content: bytes, where: str, size: int | tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return the palette indices or grey values of a mask, resized without mixing them.

    Returns:
        (height, width) uint8.

    Raises:
        DataError: as for `decode`, or the mask is in colours.
    """
    image = _loaded(_open(content, where), where)
    if image.mode not in ("P", "L", "1"):
        raise DataError(f"mask {where} is in mode {image.mode}; it must hold a palette index or grey value per pixel")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        image = image.resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(image, dtype=np.uint8)


def mode_of(channels: int) -> Literal["L", "RGB"]:
    """Return PIL's name for a number of channels."""
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 (grey) or 3 (colour), not {channels}")
    return "L" if channels == 1 else "RGB"


def _array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _open(content: bytes, where: str) -> Image.Image:
    """Open a file, turning every failure into an error that names it."""
    try:
        with warnings.catch_warnings():
            # The size is checked before any pixel is decoded; broken EXIF data are not worth a word.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"image {where} has too many pixels ({error}); shrink it first") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"image {where} is corrupt or no image (of the formats {', '.join(_FORMATS)}); replace or remove it"
        ) from error
    except Exception as error:  # PIL raises errors of any kind on damaged files
        raise _broken(where, error) from error
    return image


def _loaded(image: Image.Image, where: str) -> Image.Image:
    """Return an image with its pixels in memory."""
    count = image.width * image.height
    if count > _MOST_PIXELS or count * _BYTES.get(image.mode, 4) > _MOST_BYTES:
        raise DataError(f"image {where} has {image.width} x {image.height} pixels, too many; shrink it first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            # Broken EXIF data tell nothing.
            with contextlib.suppress(Exception):
                return ImageOps.exif_transpose(image)
    except Exception as error:
        raise _broken(where, error) from error
    return image


def _broken(where: str, error: Exception) -> DataError:
    first = str(error).partition("\n")[0] or type(error).__name__
    return DataError(f"image {where} is corrupt or no image ({first}); replace or remove it")


def _flat(image: Image.Image, where: str, greys: Greys) -> Image.Image:
    """Return an image of 8 bits without transparency, of mode 'L' or 'RGB'."""
    wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
    clear = "transparency" in image.info or image.mode in _SEE_THROUGH
    if not (wide or clear):
        return _converted(image, where)
    # In strips, so that the wide copies of a large image do not fill the memory.
    height = max(1, _STRIP // max(image.width, 1))
    result = Image.new("L" if wide else "RGB", image.size)
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(top + height, image.height)))
        if wide:
            part = Image.fromarray(_grey(strip, where, greys))
        else:
            part = _on_white(strip, where)
        result.paste(part, (0, top))
    return result


def _converted(image: Image.Image, where: str) -> Image.Image:
    if image.mode in ("1", "L", "P", "RGB"):
        return image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise DataError(f"image {where} is in mode {image.mode}, which cannot be read; convert it to RGB") from error


def _grey(image: Image.Image, where: str, greys: Greys) -> NDArray[np.uint8]:
    values = np.asarray(image)
    found = greys.to_bytes(values, image.mode, where)
    clear: Any = image.info.get("transparency")
    if isinstance(clear, int):
        found = np.where(values == clear, np.uint8(255), found)
    return found


def _on_white(image: Image.Image, where: str) -> Image.Image:
    try:
        coloured = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    except ValueError as error:
        raise DataError(f"image {where} has a transparency that cannot be read ({error}); remove it") from error
    white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, coloured).convert("RGB")
