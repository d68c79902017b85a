from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import quickstudy.datasets as datasets
from quickstudy.datasets.images import unlabelled
from quickstudy.datasets.reading.decoding import decode, decode_indices, pixels_of
from quickstudy.datasets.reading.greys import Greys
from quickstudy.errors import DataError, InputError

RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)


def saved(image: Image.Image, kind: str = "tiff", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def wide(kind: str, top: float = 1.0) -> Image.Image:
    """Return a ramp from 0 to a share of the kind's range."""
    if kind == "F":
        return Image.fromarray((RAMP * top).astype(np.float32))
    values = np.rint(RAMP * 65535 * top)
    if kind == "I":
        return Image.fromarray(values.astype(np.int32))
    if kind == "I;16B":
        return Image.frombytes("I;16B", (32, 32), values.astype(">u2").tobytes())
    return Image.fromarray(values.astype(np.uint16))


def folder(root: Path, *contents: bytes) -> Path:
    for number, content in enumerate(contents):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[number % 2] / f"{number}.tif").write_bytes(content)
    return root


@pytest.mark.parametrize("kind", ["I;16", "I;16B", "I", "F"])
class TestWideGreys:
    def test_files_and_items_agree(self, kind: str, tmp_path: Path) -> None:
        image = wide(kind)
        wanted = np.rint(RAMP * 255)
        assert np.abs(decode(saved(image), "f", 1)[0] - wanted).max() <= 1
        items = datasets.dataset([(image, 0), (image, 1)])  # type: ignore[arg-type]
        assert items.inputs.shape == (2, 1, 32, 32)
        data = datasets.images(folder(tmp_path, saved(image), saved(image)), size=32, channels=1)
        assert (data.inputs == items.inputs).all()
        assert (unlabelled(tmp_path, 32, 1)[1] == data.inputs.numpy()).all()

    def test_a_small_range_is_never_guessed(self, kind: str, tmp_path: Path) -> None:
        """12 bits in 16 would come out with 17 levels."""
        top = 4095 / 65535
        dark = wide(kind, top)
        root = folder(tmp_path, saved(dark), saved(dark))
        for read in (datasets.images, unlabelled):
            with pytest.raises(DataError, match=r"almost black.*white="):
                read(root, 32, 1)
        with pytest.raises(DataError, match="almost black"):
            datasets.dataset([(dark, 0)])  # type: ignore[arg-type]
        white = top if kind == "F" else 4095
        scaled = datasets.images(root, 32, 1, white=white)
        assert len(scaled.inputs.unique()) > 250
        assert scaled.inputs.max() == 255
        assert datasets.images(root, 32, 1, white=1.0 if kind == "F" else 65535).inputs.max() == 16
        (root / "a" / "bright.tif").write_bytes(saved(wide(kind)))
        assert datasets.images(root, 32, 1).inputs[0].max() == 16  # one rule for all images of a folder

    def test_values_out_of_range_are_refused(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"outside 0\.\..*white="):
            decode(saved(wide(kind)), "f", 1, greys=Greys(0.5))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, 300.0])
def test_odd_floats_are_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0.5, value]], dtype=np.float32))
    with pytest.raises(DataError, match=r"image f\.tif holds values"):
        decode(saved(image), "f.tif", 1)
    with pytest.raises(DataError, match="image of item 0 holds values"):
        datasets.dataset([(image, 0)])  # type: ignore[arg-type]


@pytest.mark.parametrize("white", [0, -1, float("nan"), float("inf")])
def test_white_must_be_a_positive_number(white: float) -> None:
    with pytest.raises(InputError, match="white"):
        Greys(white)


def test_32_bit_integers_out_of_range_are_refused() -> None:
    for value in (-1, 65536, 2**31 - 1):
        with pytest.raises(DataError, match=r"outside 0\.\.65535"):
            decode(saved(Image.fromarray(np.array([[0, value]], dtype=np.int32))), "f", 1)


COLOURS = {
    "1": (Image.new("1", (2, 2), 1), [255]),
    "L": (Image.new("L", (2, 2), 7), [7]),
    "P": (Image.new("RGB", (2, 2), (200, 0, 0)).quantize(2), [200, 0, 0]),
    "RGB": (Image.new("RGB", (2, 2), (1, 2, 3)), [1, 2, 3]),
    "RGBA": (Image.new("RGBA", (2, 2), (200, 0, 0, 0)), [255, 255, 255]),
    "LA": (Image.new("LA", (2, 2), (100, 255)), [100]),
    "La": (Image.new("LA", (2, 2), (100, 255)).convert("La"), [100]),
    "PA": (Image.new("RGB", (2, 2), (200, 0, 0)).quantize(2).convert("PA"), [200, 0, 0]),
    "CMYK": (Image.new("CMYK", (2, 2), (0, 0, 0, 255)), [0, 0, 0]),
    "YCbCr": (Image.new("YCbCr", (2, 2), (128, 128, 128)), [128, 128, 128]),
    "HSV": (Image.new("HSV", (2, 2), (0, 0, 50)), [50, 50, 50]),
    "LAB": (Image.new("LAB", (2, 2), (255, 128, 128)), [255, 255, 255]),
}


@pytest.mark.parametrize("mode", COLOURS)
def test_modes_of_items(mode: str) -> None:
    image, wanted = COLOURS[mode]
    assert image.mode == mode
    assert pixels_of(image, "f")[:, 0, 0].tolist() == pytest.approx(wanted, abs=mode == "LAB")
    assert decode(saved(image), "f", 1).shape == (1, 2, 2) if mode in ("LAB", "CMYK", "RGBA") else True


def test_transparency_of_palettes_and_greys() -> None:
    marked = Image.new("P", (2, 2), 1)
    marked.putpalette([0, 0, 0, 9, 9, 9])
    marked.info["transparency"] = 1
    assert pixels_of(marked, "f").min() == 255
    grey = Image.fromarray(np.array([[0, 257 * 9]], dtype=np.uint16))
    assert decode(saved(grey, "png", transparency=0), "f", 1)[0].tolist() == [[255, 9]]


def test_items_are_turned_as_their_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(saved(Image.new("L", (6, 3)), "jpeg", exif=exif)))
    assert pixels_of(image, "f").shape == (1, 6, 3)
    assert image.size == (6, 3)


def test_the_first_of_several_images_is_read() -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    for kind in ("gif", "tiff", "webp"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert abs(int(decode(content, "f", 1)[0, 0, 0]) - 10) <= 2


def test_16_bit_colours_that_are_almost_black_are_noticed(tmp_path: Path) -> None:
    def png(top: int) -> bytes:
        values = np.full((2, 2, 3), top, dtype=">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        parts = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)), (b"IDAT", __import__("zlib").compress(rows))]
        crc = __import__("zlib").crc32
        chunks = (
            struct.pack(">I", len(b)) + k + b + struct.pack(">I", crc(k + b)) for k, b in (*parts, (b"IEND", b""))
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

    root = folder(tmp_path, png(4095), png(4000))
    with pytest.raises(DataError, match="almost black"):
        datasets.images(root, size=2)
    with pytest.raises(DataError, match="16-bit colours"):
        datasets.images(root, size=2, white=4095)
    (root / "a" / "0.tif").write_bytes(png(65535))
    assert datasets.images(root, size=2).inputs.max() == 255


@pytest.mark.parametrize(
    "start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n", b"\xd7\xcd\xc6\x9a"]
)
def test_no_other_program_is_started(start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DataError, match=r"x\.png is corrupt or no image"):
        decode(start + b"showpage\n%%EOF\n" + bytes(100), "x.png")
    assert not (tmp_path / "started").exists()


def test_large_wide_images_take_little_memory() -> None:
    content = saved(Image.fromarray(np.zeros((4000, 5000), dtype=np.uint16)), "png")
    tracemalloc.start()
    try:
        decode(content, "f", 1, 8)
        # PIL's own memory is not traced; that of NumPy is, which made floats of all pixels.
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_images_of_too_many_bytes_are_refused() -> None:
    with pytest.raises(DataError, match="too many"):
        decode(b"P5 20000 6000 255\n", "f.pgm", 1)
    with pytest.raises(DataError, match="too many"):
        pixels_of(Image.new("1", (20_000, 6_000)), "f")


def test_damaged_images_end_in_one_kind_of_error() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8))
    for kind in ("png", "jpeg", "gif", "tiff", "bmp", "webp", "ppm"):
        whole = saved(image, kind)
        for seed in range(60):
            chance = random.Random(seed)
            content = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                content[chance.randrange(min(len(content), 200))] = chance.randrange(256)
            for read in (decode, decode_indices):
                # Anything but the one kind of error ends the test.
                with contextlib.suppress(DataError):
                    read(bytes(content), "f")
