"""Rows of pytrees: gathered, padded, scaled, augmented and embedded leaf by leaf."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.datasets import ClassData
from quickstudy.errors import InputError
from quickstudy.operators import trees
from tests.helpers.several import pictures, sentences

NUMBERED = sentences().map(lambda inputs: {**inputs, "row": torch.arange(48)})


def leaf_by_leaf(tasks: Any, data: ClassData) -> None:
    """Check that each leaf of the rows of tasks is that of their row numbers."""
    batch = tasks.batch(3, 20)
    for rows in (batch.support, batch.query):
        numbers = rows.inputs["row"]
        for name, leaf in rows.inputs.items():
            assert leaf.dtype == data.inputs[name].dtype
            assert torch.equal(leaf, data.inputs[name][numbers])


@pytest.mark.parametrize(
    "tasks",
    [
        qs.tasks.FewShot(NUMBERED, ways=3, shots=2, queries=2),
        qs.tasks.FewShot(NUMBERED, ways=(2, 4), shots=(1, 3), queries=2),
        qs.tasks.FewShot(NUMBERED, ways=3, shots=2, queries=2, disjoint_sources=True),
        qs.tasks.Supervised(NUMBERED, batch=7),
        qs.tasks.Sequential(NUMBERED, ways=3, presentations=4),
    ],
    ids=lambda tasks: type(tasks).__name__,
)
def test_every_leaf_is_of_the_same_rows(tasks: Any) -> None:
    leaf_by_leaf(tasks, NUMBERED)


def test_labels_are_those_of_the_rows() -> None:
    tasks = qs.tasks.FewShot(NUMBERED, ways=(2, 4), shots=(1, 3), queries=2)
    for i in range(30):
        task = qs.batching.select(tasks.batch(i, 1), 0)
        seen = {}
        for rows in (task.support, task.query):
            for number, label in zip(
                rows.inputs["row"][rows.mask].tolist(), rows.labels[rows.mask].tolist(), strict=True
            ):
                assert seen.setdefault(label, int(NUMBERED.labels[number])) == int(NUMBERED.labels[number])
        assert len(set(seen.values())) == len(seen)


def test_bytes_in_a_pytree_become_floats_and_nothing_else_changes() -> None:
    data = pictures()
    image, numbers = qs.tasks.FewShot(data, ways=3, shots=1, queries=2).batch(0, 4).query.inputs
    assert (image.dtype, float(image.max()) <= 1) == (torch.float32, True)
    rows = (image * 255).round().to(torch.uint8).flatten(0, 1)
    place = (rows[:, None] == data.inputs[0][None]).flatten(2).all(2).long().argmax(1)
    assert torch.equal(data.inputs[1][place], numbers.flatten(0, 1))


def test_augmentations_are_given_the_pytree() -> None:
    def dropped(inputs: dict[str, Tensor], keys: Tensor) -> dict[str, Tensor]:
        return {**inputs, "mask": torch.zeros_like(inputs["mask"])}

    batch = qs.tasks.FewShot(sentences(), ways=3, shots=1, queries=2, augment=dropped).batch(0, 2)
    assert not batch.support.inputs["mask"].any()
    for change in (qs.tasks.Warp(), qs.tasks.Noise(0.1), qs.tasks.Blur(1.0)):
        tasks = qs.tasks.FewShot(sentences(), ways=3, shots=1, queries=2, augment=change)
        with pytest.raises(InputError, match=r"images alone.*\['ids'\], \['mask'\]"):
            tasks.batch(0, 1)


def test_a_bank_of_them_is_stored_and_read(tmp_path: Any) -> None:
    tasks = qs.tasks.FewShot(sentences(), ways=3, shots=1, queries=2)
    bank = tasks.bank(5)
    bank.save(tmp_path / "bank")
    again = qs.tasks.Bank.load(tmp_path / "bank", qs.tasks.FewShot(sentences(), ways=3, shots=1, queries=2))
    pairs = zip(trees.leaves(bank.batch(0, 5)), trees.leaves(again.batch(0, 5)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(qs.errors.CheckpointError, match="other data"):
        qs.tasks.Bank.load(tmp_path / "bank", qs.tasks.FewShot(sentences(seed=1), ways=3, shots=1, queries=2))
