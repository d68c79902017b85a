"""Several data sets as one."""

import dataclasses

import pytest
import torch

import quickstudy as qs
from quickstudy.datasets import ClassData, join
from quickstudy.errors import InputError
from tests.helpers.blobs import make_blobs
from tests.helpers.several import sentences


@pytest.fixture
def parts() -> tuple[ClassData, ClassData]:
    first = make_blobs(4, 3)
    second = dataclasses.replace(
        make_blobs(6, 5),
        name="others",
        classes=tuple("uvwxyz"),
        attributes={"group": tuple("ppqqrr"), "size": ("s",) * 6},
    )
    return first, second


def test_each_part_is_in_the_whole_as_it_was(parts: tuple[ClassData, ClassData]) -> None:
    whole = join(parts)
    assert whole.name == "blobs+others"
    for part in parts:
        again = whole.subset([whole.classes[i] for i in whole.groups("data")[part.name]])
        assert again.fingerprint == part.fingerprint
        assert again.attributes["group"] == part.attributes["group"]
    assert "size" not in whole.attributes


def test_tasks_within_a_part_come_from_either_equally_often(parts: tuple[ClassData, ClassData]) -> None:
    whole = join(parts)
    tasks = qs.tasks.FewShot(whole, ways=3, shots=1, queries=1, within="data")
    labels = whole.labels[tasks.plan(torch.arange(200))["support"][:, 0]]
    from_first = (labels < 4).all(1)
    assert torch.equal(from_first, (labels < 4).any(1))
    assert 70 < int(from_first.sum()) < 130


def test_what_not_all_parts_have_is_left_out(parts: tuple[ClassData, ClassData]) -> None:
    first, second = parts
    assert join([first, dataclasses.replace(second, source=None)]).source is None
    masks = dataclasses.replace(second, targets=torch.zeros(len(second), 2))
    assert join([first, masks]).targets is None
    assert join([masks], "one").targets.shape == (30, 2)


def test_parts_that_do_not_fit_are_refused(parts: tuple[ClassData, ClassData]) -> None:
    first, second = parts
    for others, words in (
        ((), "at least one"),
        ((first, first), "have the names"),
        ((first, dataclasses.replace(first, name="again")), "class names repeat"),
        ((first, second.map(torch.Tensor.double)), r"inputs of 'blobs' are \(4,\) of torch.float32 and of 'others'"),
        ((first, second.map(lambda rows: rows[:, :2])), r"\(2,\) of torch.float32; make them alike"),
    ):
        with pytest.raises(InputError, match=words):
            join(others)
    with pytest.raises(InputError, match="'group' already"):
        join(parts, by="group")


def test_several_tensors_a_row_are_joined_leaf_by_leaf() -> None:
    first = sentences()
    second = dataclasses.replace(sentences(seed=1), name="others", classes=tuple("pqrstuvw"))
    whole = join([first, second])
    for part in (first, second):
        again = whole.subset([whole.classes[i] for i in whole.groups("data")[part.name]])
        assert again.fingerprint == part.fingerprint
    with pytest.raises(InputError, match=r"\"\['mask'\]\": '\(5,\) of torch.bool'.*make them alike"):
        join([first, second.map(lambda inputs: {"ids": inputs["ids"]})])
