from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import quickstudy.datasets as datasets
from quickstudy.errors import InputError


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, tuple])
def test_kinds_agree(kind: Any) -> None:
    data = datasets.arrays(kind([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), kind([7, 3, 7]))
    assert data.inputs.tolist() == [[3, 4], [1, 2], [5, 6]]
    assert data.inputs.dtype == torch.float32
    assert data.classes == ("3", "7")
    assert data.labels.tolist() == [0, 1, 1]


def test_labels() -> None:
    X = torch.zeros(3, 1)
    assert datasets.arrays(X, ["b", "a", "b"]).classes == ("a", "b")
    assert datasets.arrays(X, np.array(["b", "a", "b"], dtype=object)).classes == ("a", "b")
    assert datasets.arrays(X, [10, 9, 10]).classes == ("9", "10")
    assert datasets.arrays(X, [2.0, 1.0, 1.0]).classes == ("1", "2")
    assert datasets.arrays(X, [True, False, True]).classes == ("False", "True")
    assert datasets.arrays(X, [1, 0, 1], classes=["zero", "one"]).classes == ("zero", "one")
    assert datasets.arrays(X, [torch.tensor(1), torch.tensor(0), torch.tensor(0)]).classes == ("0", "1")


def test_dtypes_and_copies() -> None:
    X = np.zeros((2, 3))
    data = datasets.arrays(X, [0, 1])
    X += 1
    assert data.inputs.sum() == 0
    read_only = np.zeros((2, 3), dtype=np.float32)
    read_only.flags.writeable = False
    assert datasets.arrays(read_only, [0, 1]).inputs.dtype == torch.float32
    assert datasets.arrays(torch.zeros(2, 3, dtype=torch.float64), [0, 1]).inputs.dtype == torch.float64
    assert datasets.arrays(np.zeros((2, 3), dtype=np.uint8), [0, 1]).inputs.dtype == torch.uint8
    assert datasets.arrays(np.zeros((2, 3), dtype=">i4"), [0, 1]).inputs.dtype == torch.int32
    assert datasets.arrays(np.zeros((2, 3), dtype=np.uint16), [0, 1]).inputs.dtype == torch.int64
    leaf = torch.zeros(2, 3, requires_grad=True)
    assert not datasets.arrays(leaf, [0, 1]).inputs.requires_grad
    rows = datasets.arrays([torch.zeros(3), torch.ones(3)], [0, 1])
    assert rows.inputs.shape == (2, 3)


def test_extras() -> None:
    data = datasets.arrays(
        np.eye(2), ["b", "a"], attributes={"size": ["small", "large"]}, source=[5, 6], targets=np.ones((2, 4)), name="n"
    )
    assert data.attributes["size"] == ("small", "large")
    assert data.source is not None
    assert data.source.tolist() == [6, 5]
    assert data.targets is not None
    assert data.targets.shape == (2, 4)
    assert data.name == "n"


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([[1.0], [2.0]], [0], "X has 2 rows and y 1"),
        ([[1.0], [2.0, 3.0]], [0, 1], "ragged"),
        ([["a"], ["b"]], [0, 1], "not numbers"),
        ([[1.0], [np.nan]], [0, 1], "first in example 1"),
        (np.array([[np.inf], [0.0]]), [0, 1], "first in example 0"),
        ([[1.0], [2.0]], [[0], [1]], r"y must be \(M,\)"),
        ([[1.0], [2.0]], [0.5, 1], "fractions"),
        ([[1.0], [2.0]], [np.nan, 1], "NaN"),
        ([[1.0], [2.0]], ["a", 1], "mixes"),
        ([[1.0], [2.0]], [None, "a"], "mixes"),
        ([[1.0], [2.0]], [None, None], "NoneType"),
        ([], [], "no rows"),
        (torch.eye(2).to_sparse(), [0, 1], "sparse"),
        ([[1j], [2j]], [0, 1], "not numbers"),
    ],
)
def test_bad_arrays(X: Any, y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.arrays(X, y)


def test_classes_must_cover_labels() -> None:
    with pytest.raises(InputError, match=r"0\.\.1"):
        datasets.arrays([[1.0]], [2], classes=["a", "b"])


class Pairs(Dataset[Any]):
    def __init__(self, items: list[Any], classes: list[str] | None = None) -> None:
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_dataset() -> None:
    data = datasets.dataset(TensorDataset(torch.arange(6.0).view(3, 2), torch.tensor([1, 0, 1])))
    assert data.name == "TensorDataset"
    assert data.inputs.tolist() == [[2, 3], [0, 1], [4, 5]]
    named = datasets.dataset(Pairs([(torch.zeros(2), 2), (torch.ones(2), 0)], ["ant", "bee", "cow"]))
    assert named.classes == ("ant", "cow")
    pictures = datasets.dataset(Pairs([(Image.new("RGB", (4, 3)), "a"), (Image.new("P", (4, 3)), "b")]))
    assert pictures.inputs.shape == (2, 3, 3, 4)
    assert pictures.inputs.dtype == torch.uint8


def test_bad_dataset() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    with pytest.raises(InputError, match="length"):
        datasets.dataset(Stream())
    with pytest.raises(InputError, match="item 1 of the data set is not a pair"):
        datasets.dataset(Pairs([(torch.zeros(2), 0), torch.zeros(2)]))
    with pytest.raises(InputError, match=r"x of item 1 is \(3,\)"):
        datasets.dataset(Pairs([(torch.zeros(2), 0), (torch.zeros(3), 0)]))
    with pytest.raises(InputError, match="empty"):
        datasets.dataset(Pairs([]))


class TestSeveralArrays:
    def test_a_dict_or_a_tuple_keeps_its_structure_and_shares_no_memory(self) -> None:
        ids, mask = np.array([[1, 2], [3, 4]]), np.array([[True, False], [True, True]])
        data = datasets.arrays({"ids": ids, "mask": mask, "more": {"x": [[0.5], [1.5]]}}, ["a", "b"])
        assert data.inputs["ids"].dtype == torch.int64
        assert data.inputs["mask"].dtype == torch.bool
        assert data.inputs["more"]["x"].dtype == torch.float32
        ids[0, 0] = 9
        assert data.inputs["ids"].tolist() == [[1, 2], [3, 4]]
        pair = datasets.arrays((np.zeros((2, 1, 2, 2), np.uint8), torch.ones(2, 3, dtype=torch.float64)), ["a", "b"])
        assert [leaf.dtype for leaf in pair.inputs] == [torch.uint8, torch.float64]

    def test_lists_and_tuples_of_numbers_are_one_array_as_before(self) -> None:
        for X in (
            [[0.0, 1.0], [2.0, 3.0]],
            ((0.0, 1.0), (2.0, 3.0)),
            [torch.tensor([0.0, 1.0]), torch.tensor([2, 3.0])],
        ):
            assert torch.equal(datasets.arrays(X, ["a", "b"]).inputs, torch.tensor([[0.0, 1.0], [2.0, 3.0]]))

    @pytest.mark.parametrize(
        ("X", "message"),
        [
            ({"a": np.zeros(2), "b": np.zeros(3)}, r"X\['b'\] has 3 rows and X\['a'\] 2"),
            ({"a": np.zeros(3)}, "X has 3 rows and y 2"),
            ({"a": np.array(["x", "y"])}, r"X\['a'\] holds <U1, not numbers"),
            ({"a": np.array([0.0, np.nan])}, r"inputs\['a'\] hold NaN or infinity, first in example 1"),
            ({"a": 1.0}, r"X\['a'\] is a single number"),
            ({}, "no tensor"),
        ],
    )
    def test_mistakes_name_the_array(self, X: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            datasets.arrays(X, ["a", "b"])
