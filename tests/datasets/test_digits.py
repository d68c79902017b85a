from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy.datasets as datasets
from quickstudy.datasets.digits import read_idx
from quickstudy.errors import DataError, DataNotFoundError, InputError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Write 300 'digits' a file, each a square as bright as its digit and number say."""
    for stem, shift in (("t10k", 0), ("train", 1)):
        labels = np.arange(300, dtype=np.uint8) % 10
        images = np.zeros((300, 28, 28), dtype=np.uint8)
        images[:, 4:24, 4:24] = (20 * labels + 2 * (np.arange(300) // 60) + shift + 1)[:, None, None]
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_digits_lie_side_by_side(mnist: Path) -> None:
    data = datasets.double_mnist(mnist, examples=3)
    assert data.inputs.shape == (300, 1, 64, 64)
    assert data.classes[7] == "07"
    assert data.attributes["first"][42] == "4"
    assert data.attributes["second"][42] == "2"
    for label in (0, 7, 42, 99):
        left = int(data.inputs[3 * label, 0, :, :32].max()) // 20
        right = int(data.inputs[3 * label, 0, :, 32:].max()) // 20
        assert f"{left}{right}" == data.classes[label]
    places = (data.inputs[:, 0, :, :32].float().sum(1) > 0).float().argmax(1)
    assert set(places.tolist()) == {4, 5, 6, 7, 8}  # a margin of 4 in the digit, and 0 to 4 to move


def test_triple(mnist: Path) -> None:
    data = datasets.triple_mnist(mnist, examples=1, digits="test")
    assert data.inputs.shape == (1000, 1, 84, 84)
    assert data.classes[-1] == "999"
    assert set(data.attributes) == {"first", "second", "third"}


def test_deterministic_by_seed_and_class(mnist: Path) -> None:
    first, again, other = (datasets.double_mnist(mnist, examples=2, seed=s) for s in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def test_split_shares_neither_classes_nor_handwriting(mnist: Path) -> None:
    parts = datasets.double_mnist_split(mnist, examples=30, seed=3)
    assert [len(part.classes) for part in parts] == [64, 16, 20]
    assert len({name for part in parts for name in part.classes}) == 100
    # The brightness of a square tells which handwritten digits it stands for.
    first, *others = (set(torch.unique(part.inputs).tolist()) - {0} for part in parts)
    assert first
    shared_steps = {value for other in others for value in first & other}
    assert len(shared_steps) <= 20  # only the step at the border between two parts
    assert datasets.triple_mnist_split(mnist, examples=1)[2].inputs.shape == (200, 1, 84, 84)


def test_bad_arguments(mnist: Path) -> None:
    with pytest.raises(InputError, match=r"56\.\.1024"):
        datasets.double_mnist(mnist, size=55)
    with pytest.raises(InputError, match="examples"):
        datasets.double_mnist(mnist, examples=0)
    with pytest.raises(InputError, match="did you mean 'train'"):
        datasets.double_mnist(mnist, digits="trian")  # type: ignore[arg-type]
    (mnist / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataNotFoundError, match="digits='test'"):
        datasets.double_mnist(mnist)
    assert len(datasets.double_mnist(mnist, digits="test", examples=1)) == 100
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(300, dtype=np.uint8)))
    with pytest.raises(DataError, match="missing"):
        datasets.double_mnist(mnist, digits="test")
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, dtype=np.uint8)))
    with pytest.raises(DataError, match="are they a pair"):
        datasets.double_mnist(mnist, digits="test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin"),
        (b"PK\x03\x04", "does not begin"),
        (b"\0\0\x07\x01\0\0\0\x01x", "does not begin"),
        (b"\0\0\x08\x00", "does not begin"),
        (b"\0\0\x08\x03\0\0\0\x01", "within its header"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "should have 13 bytes"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "should have 10 bytes"),
        (b"\0\0\x08\x04" + b"\xff" * 16 + b"abc", "should have"),
    ],
)
def test_hostile_idx(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "f")


def test_idx_types(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\0\0\x0c\x02" + struct.pack(">IIii", 1, 2, -5, 70000))
    array = read_idx(tmp_path / "f")
    assert array.tolist() == [[-5, 70000]]
    assert array.dtype.isnative
    (tmp_path / "g").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab")[:-4])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "g")


def test_real_digits(real_data: Path) -> None:
    data = datasets.double_mnist(real_data, examples=2, digits="test")
    assert data.inputs.shape == (200, 1, 64, 64)
    assert 0.03 < float(data.inputs.float().mean()) / 255 < 0.1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(3),
        b"\0\0\x08\xff" + bytes(4 * 255),
        b"\0\0\x08\x05" + b"\0" * 4 + b"\xff" * 16,
        b"\0\0\x08\x01\xff\xff\xff\xff",
        b"\0\0\x0e\xff" + b"\xff" * 1020,
    ],
)
def test_impossible_idx_files_end_in_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match="/f "):
        read_idx(tmp_path / "f")
