from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import quickstudy.datasets as datasets
from quickstudy.datasets.glyphs import _blur
from quickstudy.errors import DataError, InputError


class Data:
    """A data set with attributes of any kind."""

    def __init__(self, items: list[Any], length: Any = None, **attributes: Any) -> None:
        self.items, self.length = items, length
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.items) if self.length is None else self.length

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def rows(labels: list[Any]) -> list[Any]:
    return [(torch.full((3,), float(i)), label) for i, label in enumerate(labels)]


def read(*arguments: Any, **attributes: Any) -> Any:
    return datasets.dataset(Data(*arguments, **attributes))  # type: ignore[arg-type]


NAMES = ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    ("labels", "attributes", "classes"),
    [
        ([0, 1, 2], {"classes": NAMES}, ("cat", "dog", "owl")),
        ([2, 0], {"classes": tuple(NAMES)}, ("cat", "owl")),
        ([2, 0], {"classes": np.array(NAMES)}, ("cat", "owl")),
        ([2, 0], {"classes": {0: "cat", 2: "owl"}}, ("cat", "owl")),
        ([2, 0], {"class_to_idx": {"owl": 2, "cat": 0}}, ("cat", "owl")),
        ([1, 2], {"class_to_idx": {"cat": 1, "owl": 2}}, ("cat", "owl")),
        ([0, 1], {"classes": lambda: NAMES}, ("0", "1")),
        ([0, 1], {"classes": 2}, ("0", "1")),
        ([0, 1], {"classes": "ab"}, ("0", "1")),
        ([0, 1], {"classes": []}, ("0", "1")),
        ([0, 1], {"classes": [("tench", "Tinca"), ("crane",)]}, ("tench, Tinca", "crane")),
        ([0, 1, 2], {"classes": ["crane", "maillot", "crane"]}, ("crane 0", "maillot", "crane 2")),
        (["x", "y"], {"classes": NAMES}, ("x", "y")),
        ([torch.tensor(1), np.int32(0), torch.tensor([2])], {"classes": NAMES}, ("cat", "dog", "owl")),
        ([np.array([1]), np.float64(0.0)], {}, ("0", "1")),
    ],
)
def test_names_of_labels(labels: list[Any], attributes: dict[str, Any], classes: tuple[str, ...]) -> None:
    assert read(rows(labels), **attributes).classes == classes


@pytest.mark.parametrize(
    ("items", "attributes", "message"),
    [
        (rows([1, 2, 3]), {"classes": NAMES}, "item 2 is 3, .* 0 to 2; labels seem to begin at 1"),
        (rows([0, -1]), {"classes": NAMES}, "item 1 is -1, .* leave such items out"),
        (rows([0, 7]), {"classes": NAMES}, "item 1 is 7"),
        (rows([0, 1]), {"classes": NAMES, "class_to_idx": {"dog": 0, "cat": 1}}, "disagree about label 0"),
        (rows([0.5, 1]), {}, "fractions"),
        (rows([None, 1]), {}, "y of item 0 is a NoneType"),
        (rows([{"boxes": 1}]), {}, "y of item 0 is a dict"),
        (rows([torch.eye(3)[0]]), {}, r"y of item 0 has shape \(3,\).*argmax"),
        (rows([np.zeros(0)]), {}, r"y of item 0 has shape \(0,\)"),
        (rows([torch.tensor(1, device="meta")]), {}, "item 0 is on the device 'meta'"),
        ([{"image": 1, "label": 0}], {}, r"a dict with 'image', 'label'; give a list such as"),
        ([(torch.zeros(2), 0, "path")], {}, "but 3 things"),
        (["ab"], {}, "but str"),
        ([(torch.zeros(2), 0), (np.zeros((2, 2)), 0)], {}, r"x of item 1 is \(2, 2\)"),
        ([(Image.new("L", (4, 4)), 0), (Image.new("L", (5, 4)), 0)], {}, r"x of item 1 is \(1, 4, 5\)"),
        ([("text", 0)], {}, "x of item 0 holds <U4, not numbers"),
        ([(None, 0)], {}, "x of item 0 holds object"),
        (rows([0]), {"length": 3}, "says that it has 3 items, but has no item 1"),
        (rows([]), {}, "empty"),
        (rows([0]), {"length": -1}, "length"),
    ],
)
def test_what_cannot_be_read_is_told(items: list[Any], attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(items, **attributes)
    assert "\n" not in str(error.value)


def test_a_file_that_an_item_cannot_read_is_named(tmp_path: Path) -> None:
    class Files(Data):
        def __getitem__(self, index: int) -> Any:
            return Image.open(tmp_path / "lost.png"), 0

    with pytest.raises(DataError, match="item 0 of the data set cannot be read"):
        datasets.dataset(Files([0]))  # type: ignore[arg-type]


MASKED = np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2, dtype=bool))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (torch.eye(2) + 1j, "complex numbers"),
        (torch.eye(2, device="meta"), "device 'meta'"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "nested"),
        (torch.eye(2).to(torch.float8_e4m3fn), "float8"),
        (MASKED, "masked values"),
        ([MASKED[0], MASKED[1]], "masked values"),
        ({"a": MASKED}, r"X\['a'\] has masked values"),
        (3.0, "single number"),
        (np.array([[2**64 - 1], [0]], dtype=np.uint64), r"2\*\*63"),
        (__import__("scipy.sparse").sparse.eye_array(2), r"sparse; make it dense with .toarray\(\)"),
        (["a sentence", "another"], "TfidfVectorizer"),
        (np.zeros((2, 1), "m8[s]"), "seconds"),
        ([[None], [1]], "not numbers"),
        ([2**70, 1], "not numbers"),
        (object(), "not numbers"),
    ],
)
def test_odd_inputs_are_refused(X: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        datasets.arrays(X, [0, 1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, 1], device="meta"), "device 'meta'"),
        ([torch.tensor(0, device="meta"), 1], "device 'meta'"),
        (torch.tensor([0, 1]) + 5j, "complex"),
        (np.array([0, 1 + 5j]), "complex128"),
        (torch.tensor([0, 1]).to_sparse(), "sparse"),
        (np.ma.masked_array([0, 1], mask=[True, False]), "masked"),
        ([[1], [1, 2]], "ragged"),
        ([[0], [1]], r"use y.ravel\(\)"),
        (np.eye(2), r"y.argmax\(1\)"),
        ([b"a", b"b"], "decode"),
        ([np.datetime64("2020-01-01")] * 2, "date"),
        ([object(), object()], "y holds object"),
        (0, r"not \(\)"),
    ],
)
def test_odd_labels_are_refused(y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        datasets.arrays(torch.zeros(2, 1), y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (torch.tensor([1.0, 0.0]).bfloat16(), ("0", "1")),
        ([2**70, 2**70 + 1], (str(2**70), str(2**70 + 1))),
        ([-1, 2**63], ("-1", str(2**63))),
        (np.array([2**64 - 1, 2**63], dtype=np.uint64), (str(2**63), str(2**64 - 1))),
        (np.array([1e20, 2e20]), (str(10**20), str(2 * 10**20))),
        (np.array([2, 1], dtype=object), ("1", "2")),
        (np.array([np.int16(2), True], dtype=object), ("1", "2")),
        (np.array([2.0, 1], dtype=object), ("1", "2")),
        (np.ma.masked_array([3, 4]), ("3", "4")),
        ([np.str_("b"), "a"], ("a", "b")),
    ],
)
def test_labels_stay_apart(y: Any, classes: tuple[str, ...]) -> None:
    assert datasets.arrays(torch.zeros(2, 1), y).classes == classes


def test_drawings_are_the_same_under_any_default_dtype() -> None:
    images = torch.randint(0, 256, (60, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels, source = torch.arange(60) // 5, torch.arange(60) % 5
    names = tuple(f"{number:02d}" for number in range(12))
    drawings = datasets.ClassData(images, labels, names, attributes={"alphabet": ("a",) * 12}, source=source)

    def made() -> list[Any]:
        blurred = _blur(images.to(torch.float32), 1.0)
        return [datasets.with_combinations(drawings, 2).fingerprint, blurred.dtype, blurred.tolist()]

    wanted = made()
    torch.set_default_dtype(torch.float64)
    try:
        assert made() == wanted
    finally:
        torch.set_default_dtype(torch.float32)
