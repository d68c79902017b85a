from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstudy.datasets import ClassData, with_rotations
from quickstudy.errors import InputError


def data(classes: int = 6, each: int = 3) -> ClassData:
    labels = torch.arange(classes).repeat(each)  # unsorted on purpose
    return ClassData(
        inputs=torch.arange(classes * each, dtype=torch.float32)[:, None],
        labels=labels,
        classes=tuple(f"c{i}" for i in range(classes)),
        attributes={"group": tuple("ab"[i % 2] for i in range(classes))},
        source=torch.arange(classes * each),
    )


def test_rows_are_sorted_together() -> None:
    d = data()
    assert d.labels.tolist() == sorted(d.labels.tolist())
    assert d.source is not None
    assert torch.equal(d.source.float(), d.inputs[:, 0])
    assert (d.source % 6).tolist() == d.labels.tolist()
    assert d.counts.tolist() == [3] * 6
    assert d.starts.tolist() == [0, 3, 6, 9, 12, 15]
    assert len(d) == 18
    assert "6 classes" in repr(d)


def test_subset_relabels_in_the_order_given() -> None:
    d = data()
    part = d.subset(["c4", "c1"])
    assert part.classes == ("c4", "c1")
    assert part.attributes["group"] == ("a", "b")
    assert part.inputs[:3, 0].tolist() == [4, 10, 16]
    assert part.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(d.subset([4, 1]).inputs, part.inputs)
    with pytest.raises(InputError, match="did you mean 'c4'"):
        d.subset(["c44"])
    with pytest.raises(InputError, match="repeats"):
        d.subset([1, 1])


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(3, 40), seed=st.integers(0, 99))
def test_parts_are_disjoint_and_complete(classes: int, seed: int) -> None:
    d = data(classes, 1)
    parts = d.split(seed=seed)
    names = [name for part in parts for name in part.classes]
    assert sorted(names) == sorted(d.classes)
    assert [p.classes for p in parts] == [p.classes for p in d.split(seed=seed)]


def test_split_by_attribute_keeps_groups_whole_and_varies_with_the_seed() -> None:
    d = data(40, 1)
    groups = tuple(f"g{i % 10 if i < 30 else i % 3}" for i in range(40))
    d = ClassData(d.inputs, d.labels, d.classes, attributes={"group": groups})
    splits = set()
    for seed in range(5):
        parts = d.split(by="group", seed=seed)
        seen = [set(part.attributes["group"]) for part in parts]
        assert sum(map(len, seen)) == len(set.union(*seen))
        assert len(parts[0].classes) >= 20
        splits.add(parts[0].classes)
    assert len(splits) > 1


def test_split_errors() -> None:
    d = data()
    with pytest.raises(InputError, match="'c1' is in two parts"):
        d.split(classes=[["c0", "c1"], ["c1", "c2"]])
    with pytest.raises(InputError, match="cannot fill 3 parts"):
        d.split(by="group")
    with pytest.raises(InputError, match="unknown attribute"):
        d.split(by="grup")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1])}, "labels has 2 rows"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, "integers"),
        ({"labels": torch.tensor([0, 1, 2])}, r"0\.\.1"),
        ({"labels": torch.tensor([0, 0, 0])}, "'b' has no example"),
        ({"classes": ("a", "a")}, "repeat"),
        ({"attributes": {"x": ("1",)}}, "'x' has 1 values"),
        ({"inputs": torch.tensor([[1.0], [float("nan")], [2.0]])}, "first in example 1"),
        ({"inputs": torch.tensor([1.0, 2.0, float("inf")])}, "first in example 2"),
        ({"source": torch.tensor([1])}, "source has 1 rows"),
        ({"targets": torch.zeros(2, 4)}, "targets has 2 rows"),
    ],
)
def test_bad_contents(changes: dict[str, object], message: str) -> None:
    good = {"inputs": torch.zeros(3, 1), "labels": torch.tensor([0, 1, 1]), "classes": ("a", "b")}
    with pytest.raises(InputError, match=message):
        ClassData(**(good | changes))  # type: ignore[arg-type]


def test_rotations_are_classes() -> None:
    images = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    d = with_rotations(ClassData(images, torch.tensor([0, 1]), ("x", "y")))
    assert d.classes == ("x", "y", "x@90", "y@90", "x@180", "y@180", "x@270", "y@270")
    assert torch.equal(d.inputs[2, 0], torch.rot90(images[0, 0]))
    with pytest.raises(InputError, match="images"):
        with_rotations(data())


def test_fingerprint_depends_on_contents_and_names() -> None:
    d = data()
    assert d.fingerprint == data().fingerprint
    assert d.fingerprint != d.map(lambda x: x + 1).fingerprint
    assert d.fingerprint != d.subset(list(d.classes)[::-1]).fingerprint
    assert d.to("cpu").fingerprint == d.fingerprint


def test_rows_by_source_are_the_last_of_each() -> None:
    labels, source = torch.tensor([0, 0, 0, 1, 1], dtype=torch.uint8), torch.tensor([5, 7, 5, 7, 7])
    data = ClassData(torch.zeros(5, 1), labels, ("a", "b"), source=source)
    assert data.rows_by_source.tolist() == [[2, 1], [-1, 4]]
    with pytest.raises(InputError, match="do not know their sources"):
        _ = ClassData(torch.zeros(5, 1), labels, ("a", "b")).rows_by_source
