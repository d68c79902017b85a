from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstudy.datasets import ClassData, with_combinations, with_rotations
from quickstudy.errors import InputError
from tests.helpers.several import sentences


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
    for fractions in ((), (0, 0), (1.5, -0.5)):
        with pytest.raises(InputError, match="fractions must be shares"):
            d.split(fractions=fractions)
    for place in (6, -7):
        with pytest.raises(InputError, match=rf"no class number {place}; classes are numbered 0\.\.5"):
            d.subset([place])
    with pytest.raises(InputError, match="classes repeats a class"):
        d.subset([0, -6])
    assert d.subset([-1, 0]).classes == ("c5", "c0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 1]}, r"labels must be a tensor, not list; datasets\.arrays\(X, y\)"),
        ({"labels": np.array([0, 1, 1])}, "labels must be a tensor, not ndarray"),
        ({"source": [0, 1, 1]}, "source must be a tensor, not list"),
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


FINGERPRINTS = {torch.float32: "8bd6efaa3402f53e", torch.uint8: "7b4aa75055871033"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_the_fingerprint_of_one_tensor_is_what_it_always_was(dtype: torch.dtype) -> None:
    assert data().map(lambda rows: rows.to(dtype)).fingerprint == FINGERPRINTS[dtype]


class TestSeveralTensors:
    def test_all_are_sorted_as_single_tensors_are(self) -> None:
        d = sentences()
        for name in ("ids", "mask"):
            alone = ClassData(sentences_unsorted()[name], torch.arange(8).repeat(6), d.classes)
            assert torch.equal(d.inputs[name], alone.inputs)
        assert (len(d), d.counts.tolist()) == (48, [6] * 8)
        assert repr(d).startswith("ClassData(sentences: 48 examples of shape {'ids': (5,), 'mask': (5,)}, 8 classes")

    def test_subset_split_map_and_to_keep_the_structure(self) -> None:
        d = sentences()
        part = d.subset(["topic 4", "topic 1"])
        assert torch.equal(part.inputs["ids"], torch.cat([d.inputs["ids"][24:30], d.inputs["ids"][6:12]]))
        assert torch.equal(part.inputs["mask"], torch.cat([d.inputs["mask"][24:30], d.inputs["mask"][6:12]]))
        assert sorted(name for each in d.split(seed=1) for name in each.classes) == sorted(d.classes)
        assert d.to("cpu").fingerprint == d.fingerprint
        assert torch.equal(d.map(lambda inputs: inputs["ids"]).inputs, d.inputs["ids"])

    def test_the_fingerprint_knows_structure_and_contents_but_not_the_order_of_a_dict(self) -> None:
        d = sentences()
        turned = d.map(lambda inputs: dict(reversed(inputs.items())))
        assert list(turned.inputs) == ["mask", "ids"]
        assert turned.fingerprint == d.fingerprint
        others = [
            d.map(lambda inputs: (inputs["ids"], inputs["mask"])),
            d.map(lambda inputs: {"ids": inputs["ids"], "kept": inputs["mask"]}),
            d.map(lambda inputs: {**inputs, "mask": ~inputs["mask"]}),
            d.map(lambda inputs: {**inputs, "mask": inputs["mask"].to(torch.uint8)}),
            d.map(lambda inputs: {**inputs, "ids": inputs["ids"].reshape(-1, 5, 1)}),
            d.map(lambda inputs: inputs["ids"]),
        ]
        assert len({d.fingerprint, *(other.fingerprint for other in others)}) == 7

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"a": torch.zeros(3, 1), "b": torch.zeros(2)}, r"inputs\['b'\] has 2 rows and inputs\['a'\] 3"),
            ((torch.zeros(3, 1), torch.tensor(1.0)), r"inputs\[1\] is a single number"),
            ({"a": torch.zeros(3), "b": {"c": torch.tensor([0.0, 1.0, float("nan")])}}, r"\['b'\]\['c'\] hold NaN.* 2"),
            ({"a": [[1.0], [2.0], [3.0]]}, r"must be a tensor, not float"),
            ({}, "hold no tensor"),
        ],
    )
    def test_bad_leaves_are_named(self, inputs: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            ClassData(inputs, torch.tensor([0, 1, 1]), ("a", "b"))

    def test_rotations_and_combinations_are_of_images_alone(self) -> None:
        for change in (with_rotations, lambda d: with_combinations(d, 1, "group")):
            with pytest.raises(InputError, match=r"images .*not \{'ids': \(5,\), 'mask': \(5,\)\}; take the images"):
                change(sentences())


def sentences_unsorted() -> dict[str, torch.Tensor]:
    """Return the inputs of `sentences` before they are sorted."""
    kept: list[dict[str, torch.Tensor]] = []

    class Keeping(ClassData):
        def __post_init__(self) -> None:
            kept.append(self.inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.helpers.several.ClassData", Keeping)
        sentences()
    return kept[0]
