"""Double and Triple MNIST: images of two or three handwritten digits, whose number is the class.

Sun, 'Multi-digit MNIST for Few-shot Learning', 2019, https://github.com/shaohua0116/MultiDigitMNIST. The pictures are
composed here, with the published sizes, layout and numbers of classes but other random numbers, from the files of
LeCun, Cortes and Burges' MNIST.
"""

from __future__ import annotations

import math
import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import read_gzip
from quickstudy.datasets.reading.files import PublishedFile, find
from quickstudy.errors import DataError, DataNotFoundError, InputError, unknown_name
from quickstudy.registry import register

Source = Literal["all", "train", "test"]

_SITE = "https://storage.googleapis.com/cvdf-datasets/mnist"
_FILES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_LIMIT = 1 << 30
_SHARES = (0.64, 0.16, 0.20)


@register("dataset")
def double_mnist(
    path: str | os.PathLike[str] | None = None,
    size: int = 64,
    examples: int = 100,
    seed: int = 0,
    digits: Source = "all",
) -> ClassData:
    """Return pictures of two digits side by side, 100 classes.

    Each digit lies at a random place in its own half. All classes draw on the same handwritten digits: for parts that
    share neither classes nor handwriting use `double_mnist_split`.

    Args:
        path: folder that holds MNIST's four IDX files, compressed or not; None searches as described in
            `quickstudy.datasets.reading.files`.
        size: height and width, at least 56; 64 as published.
        examples: pictures of each class; 1000 as published.
        seed: pictures are a pure function of it, the class and the files.
        digits: which of MNIST's parts to compose from; 'test' needs only the two small files.

    Returns:
        White ink (255) on black, inputs (M, 1, size, size) uint8; classes '00' to '99'; attributes 'first' and
        'second', the digits.

    Raises:
        DataNotFoundError: a file was neither found nor downloaded.
        DataError: a file is corrupt.
        InputError: an argument is out of range.
    """
    return _whole(2, path, size, examples, seed, digits)


@register("dataset")
def triple_mnist(
    path: str | os.PathLike[str] | None = None,
    size: int = 84,
    examples: int = 20,
    seed: int = 0,
    digits: Source = "all",
) -> ClassData:
    """Return pictures of three digits side by side, 1000 classes '000' to '999'; see `double_mnist`."""
    return _whole(3, path, size, examples, seed, digits)


@register("dataset")
def double_mnist_split(
    path: str | os.PathLike[str] | None = None,
    size: int = 64,
    examples: int = 100,
    seed: int = 0,
    digits: Source = "all",
) -> tuple[ClassData, ClassData, ClassData]:
    """Return Double MNIST as meta-train, -validation and -test data that share neither classes nor handwriting.

    The parts have 64, 16 and 20 classes, as published, and the same shares of MNIST's handwritten digits. The published
    files share the handwritten digits among the parts.

    Args and Raises are those of `double_mnist`.
    """
    return _split(2, path, size, examples, seed, digits)


@register("dataset")
def triple_mnist_split(
    path: str | os.PathLike[str] | None = None,
    size: int = 84,
    examples: int = 20,
    seed: int = 0,
    digits: Source = "all",
) -> tuple[ClassData, ClassData, ClassData]:
    """Return Triple MNIST as parts of 640, 160 and 200 classes; see `double_mnist_split`."""
    return _split(3, path, size, examples, seed, digits)


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array in an IDX file, the format of MNIST, compressed by gzip or not.

    Raises:
        DataError: the file is no IDX file, is truncated, or has bytes left over.
    """
    path = Path(path)
    content = read_gzip(path, _IDX_LIMIT)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or content[3] == 0:
        raise DataError(f"{path} does not begin as an IDX file does (it begins {content[:4].hex()}); download it again")
    kind, dims = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * dims
    if len(content) < start:
        raise DataError(f"{path} ends within its header; download it again")
    shape = struct.unpack(f">{dims}I", content[4:start])
    # Python's integers do not overflow, whatever the header claims.
    expected = start + math.prod(shape) * kind.itemsize
    if len(content) != expected:
        raise DataError(f"{path} should have {expected} bytes for shape {shape[:8]} and has {len(content)}")
    try:
        array = np.frombuffer(content, kind, offset=start).reshape(shape)
    except ValueError as error:  # more than 64 dimensions, or too large ones beside one of size 0
        raise DataError(f"{path} has an impossible shape of {dims} dimensions; download it again") from error
    return array.astype(kind.newbyteorder("="), copy=False)


def _mnist(path: str | os.PathLike[str] | None, digits: Source) -> list[NDArray[np.uint8]]:
    """Return the pictures (M, 28, 28) of each digit."""
    if digits not in get_args(Source):
        raise unknown_name("part of MNIST", digits, get_args(Source))
    stems = {"all": ("train", "t10k"), "train": ("train",), "test": ("t10k",)}[digits]
    pictures, labels = [], []
    for stem in stems:
        pair = []
        for name in (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"):
            packed = PublishedFile(f"mnist/{name}.gz", f"{_SITE}/{name}.gz", _FILES[name])
            try:
                pair.append(read_idx(find([packed, PublishedFile(f"mnist/{name}")], path)))
            except DataNotFoundError as error:
                if digits == "test":
                    raise
                raise DataNotFoundError(f"{error}. With digits='test' only the two t10k files are needed") from error
        picture, label = pair
        if picture.dtype != np.uint8 or picture.shape[1:] != (28, 28) or label.shape != picture.shape[:1]:
            raise DataError(
                f"MNIST's {stem} files have shapes {picture.shape} and {label.shape}; they should be (M, 28, 28) and "
                "(M,): are they a pair?"
            )
        pictures.append(picture)
        labels.append(label)
    every, classes = np.concatenate(pictures), np.concatenate(labels)
    missing = set(range(10)) - set(classes.tolist())
    if missing or classes.max() > 9:
        raise DataError(f"MNIST's labels must be 0 to 9, each at least once; missing: {sorted(missing)}")
    return [every[classes == digit] for digit in range(10)]


def _compose(
    pool: Sequence[NDArray[np.uint8]], classes: Sequence[str], size: int, examples: int, seed: int, name: str
) -> ClassData:
    """Return pictures of the numbers in `classes`, drawn from the pictures of each digit in `pool`."""
    count = len(classes[0])
    cell = size // count
    if cell < 28 or size > 1024:
        raise InputError(f"size must lie in {28 * count}..1024 for {count} digits of 28 pixels, not {size}")
    if examples < 1:
        raise InputError(f"examples must be at least 1, not {examples}")
    pictures = np.zeros((len(classes), examples, 1, size, size), dtype=np.uint8)
    for row, number in enumerate(classes):
        # A generator a class makes its pictures independent of what other classes are asked for.
        generator = np.random.Generator(np.random.Philox(key=[seed, int(number) + 10_000 * count]))
        draws = generator.random((examples, count, 3))
        for example in range(examples):
            for place, digit in enumerate(number):
                choice, down, right = draws[example, place]
                drawings = pool[int(digit)]
                y = int(down * (size - 28 + 1))
                x = place * size // count + int(right * (cell - 28 + 1))
                pictures[row, example, 0, y : y + 28, x : x + 28] = drawings[int(choice * len(drawings))]
    places = ("first", "second", "third")[:count]
    return ClassData(
        inputs=torch.from_numpy(pictures).flatten(0, 1),
        labels=torch.arange(len(classes)).repeat_interleave(examples),
        classes=tuple(classes),
        name=name,
        attributes={key: tuple(number[i] for number in classes) for i, key in enumerate(places)},
    )


def _numbers(count: int) -> list[str]:
    return [f"{number:0{count}d}" for number in range(10**count)]


def _name(count: int) -> str:
    return {2: "double_mnist", 3: "triple_mnist"}[count]


def _whole(
    count: int, path: str | os.PathLike[str] | None, size: int, examples: int, seed: int, digits: Source
) -> ClassData:
    return _compose(_mnist(path, digits), _numbers(count), size, examples, seed, _name(count))


def _split(
    count: int, path: str | os.PathLike[str] | None, size: int, examples: int, seed: int, digits: Source
) -> tuple[ClassData, ClassData, ClassData]:
    pool = _mnist(path, digits)
    numbers = _numbers(count)
    random.Random(seed).shuffle(numbers)
    parts, done = [], 0.0
    for part, share in zip(("train", "val", "test"), _SHARES, strict=True):
        low, high = done, done + share
        # Adding shares must end at exactly 1, or the last class or digit would be lost.
        high = 1.0 if part == "test" else high
        own = [each[round(low * len(each)) : round(high * len(each))] for each in pool]
        if any(not len(each) for each in own):
            raise DataError("MNIST's files hold too few digits to split; use `digits='all'` or the whole files")
        classes = sorted(numbers[round(low * len(numbers)) : round(high * len(numbers))])
        parts.append(_compose(own, classes, size, examples, seed, f"{_name(count)} {part}"))
        done = high
    return parts[0], parts[1], parts[2]
