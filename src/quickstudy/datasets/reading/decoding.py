"""Turn image files of any kind into arrays of one size."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from quickstudy.errors import DataError, InputError

Fit = Literal["stretch", "crop", "pad"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Names of files taken for images."""

_MOST_PIXELS = 100_000_000
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, MemoryError)


def decode(
    content: bytes,
    where: str,
    channels: int = 3,
    size: int | tuple[int, int] | None = None,
    fit: Fit = "stretch",
    box: tuple[int, int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Return an image as numbers.

    The camera's EXIF rotation is applied, palettes are resolved, 16-bit greys are scaled to 8, and what is
    transparent becomes white.

    Args:
        content: of the file.
        where: what messages call it.
        channels: 1 for grey, 3 for red, green and blue.
        size: (height, width), or one number for both; None keeps the image's own.
        fit: how another aspect ratio is treated: 'stretch' it, 'crop' at the centre, or 'pad' with black.
        box: (left, upper, right, lower) pixels to crop to first.

    Returns:
        (channels, height, width) uint8.

    Raises:
        DataError: the file is corrupt, truncated, no image, or has more than 100 million pixels.
    """
    mode = mode_of(channels)
    image = _flat(_open(content, where), where).convert(mode)
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
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_indices(content: bytes, where: str, size: int | tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return the palette indices or grey values of a mask, resized without mixing them.

    Returns:
        (height, width) uint8.

    Raises:
        DataError: as for `decode`, or the mask is in colours.
    """
    image = _open(content, where)
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


def _open(content: bytes, where: str) -> Image.Image:
    """Decode a file, turning every failure into an error that names it."""
    try:
        with warnings.catch_warnings():
            # The size is checked below, before any pixel is decoded; broken EXIF data are not worth a word.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(f"image {where} has {image.width} x {image.height} pixels, too many; shrink it first")
            image.load()
            return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"image {where} has too many pixels ({error}); shrink it first") from error
    except _BROKEN as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"image {where} is corrupt or no image ({error}); replace or remove it") from error


def _flat(image: Image.Image, where: str) -> Image.Image:
    """Return an 8-bit image without transparency."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        wide = np.asarray(image).astype(np.float64)
        # PIL reads 16-bit PNG greys as 'I' in some versions; other ranges have no agreed meaning.
        top = float(wide.max(initial=0.0))
        if not np.isfinite(wide).all() or wide.min(initial=0.0) < 0 or top > 65535:
            raise DataError(f"image {where} holds values outside 0..65535; convert it to 8 bits a channel")
        return Image.fromarray(np.rint(wide / (257 if top > 255 else 1)).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image
