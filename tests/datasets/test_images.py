from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import quickstudy.datasets as datasets
from quickstudy.datasets.reading.decoding import decode
from quickstudy.errors import DataError, DataNotFoundError, InputError
from tests.datasets.conftest import picture, zipped


def write(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(np.full((6, 8, 3), 10 * i, dtype=np.uint8)))
    return root


def saved(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_folder_a_class(tmp_path: Path) -> None:
    write(tmp_path / "data", "dog/1.png", "cat/1.PNG", "cat/2.png")
    (tmp_path / "data" / "cat" / "notes.txt").touch()
    (tmp_path / "data" / ".git").mkdir()
    data = datasets.images(tmp_path / "data", size=(5, 4))
    assert data.classes == ("cat", "dog")
    assert data.inputs.shape == (3, 3, 5, 4)
    assert data.inputs[:, 0, 0, 0].tolist() == [10, 20, 0]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.name == "data"
    assert not data.attributes


def test_groups(tmp_path: Path) -> None:
    write(tmp_path, "pets/dog/1.png", "pets/cat/1.png", "farm/dog/1.png")
    data = datasets.images(tmp_path, size=4, channels=1)
    assert data.classes == ("farm/dog", "pets/cat", "pets/dog")
    assert data.attributes["group"] == ("farm", "pets", "pets")
    assert data.inputs.shape == (3, 1, 4, 4)


def test_zip(tmp_path: Path) -> None:
    grey = picture(np.full((4, 4), 7, dtype=np.uint8))
    path = zipped(tmp_path / "pets.zip", {"cat/1.png": grey, "dog/1.png": grey, "__MACOSX/cat/._1.png": b"x"})
    data = datasets.images(path, size=4)
    assert data.classes == ("cat", "dog")
    assert data.name == "pets"


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="check the path"):
        datasets.images(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        datasets.images(tmp_path / "empty")
    with pytest.raises(DataError, match=r"'1\.png' lies in .* itself"):
        datasets.images(write(tmp_path / "flat", "1.png", "cat/1.png"))
    with pytest.raises(DataError, match="throughout"):
        datasets.images(write(tmp_path / "mixed", "cat/1.png", "a/dog/1.png"))
    with pytest.raises(DataError, match="throughout"):
        datasets.images(write(tmp_path / "deep", "a/b/dog/1.png"))
    (write(tmp_path / "gap", "cat/1.png") / "dog").mkdir()
    with pytest.raises(DataError, match=r"gap/dog has no image"):
        datasets.images(tmp_path / "gap")
    (write(tmp_path / "nested", "a/cat/1.png") / "b" / "dog").mkdir(parents=True)
    with pytest.raises(DataError, match=r"nested/b/dog has no image"):
        datasets.images(tmp_path / "nested")
    write(tmp_path / "bad", "cat/1.png", "dog/2.png")
    for content in (b"", b"text", picture(np.zeros((50, 50), dtype=np.uint8))[:40]):
        (tmp_path / "bad" / "dog" / "2.png").write_bytes(content)
        with pytest.raises(DataError, match=r"dog/2\.png is corrupt"):
            datasets.images(tmp_path / "bad")
    for arguments in ({"size": 0}, {"channels": 4}, {"fit": "squash"}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            datasets.images(tmp_path / "gap", **arguments)  # type: ignore[arg-type]


def test_palette_alpha_and_depths() -> None:
    red = Image.new("RGB", (4, 4), (200, 0, 0))
    assert decode(saved(red.quantize(4)), "p")[:, 0, 0].tolist() == [200, 0, 0]
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert decode(saved(clear), "a")[:, 0, 0].tolist() == [255, 255, 255]
    assert decode(saved(Image.new("LA", (2, 2), (100, 255))), "la")[:, 0, 0].tolist() == [100] * 3
    deep = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16))
    assert decode(saved(deep), "16", channels=1)[0].tolist() == [[0, 100], [200, 255]]
    assert decode(saved(deep, "tiff"), "16", channels=1)[0].tolist() == [[0, 100], [200, 255]]
    assert decode(saved(Image.new("1", (2, 2), 1)), "1")[:, 0, 0].tolist() == [255] * 3
    assert decode(saved(Image.new("CMYK", (2, 2), (0, 0, 0, 255)), "jpeg"), "c").max() < 5
    marked = Image.new("P", (2, 2), 1)
    marked.putpalette([0, 0, 0, 9, 9, 9])
    assert decode(saved(marked, transparency=1), "t")[:, 0, 0].tolist() == [255] * 3


def test_rotation_of_the_camera_is_applied() -> None:
    image = Image.new("L", (6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(saved(image, "jpeg", exif=exif), "e").shape == (3, 6, 3)


def test_fits() -> None:
    pixels = np.zeros((10, 30), dtype=np.uint8)
    pixels[:, 10:20] = 255
    content = picture(pixels)
    assert decode(content, "f", 1, 10, "crop").min() == 255
    padded = decode(content, "f", 1, 30, "pad")[0]
    assert padded[:10].max() == 0
    assert padded[12:18, 12:18].min() == 255
    assert decode(content, "f", 1, 10, "stretch").mean() == pytest.approx(85, abs=3)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (15_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        with pytest.raises(DataError, match=r"bomb\.png has"):
            decode(bomb, "bomb.png")


def test_values_reach_tasks_as_bytes(tmp_path: Path) -> None:
    data = datasets.images(write(tmp_path, "cat/1.png"), size=2)
    assert data.inputs.dtype == torch.uint8
