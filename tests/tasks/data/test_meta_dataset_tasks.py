"""Meta-Dataset's episodes as a stream of tasks."""

import pytest
import torch

from quickstudy import batching
from quickstudy.datasets import ClassData
from quickstudy.errors import InputError
from quickstudy.tasks import MetaDataset


def data(classes: int = 9, groups: bool = False) -> ClassData:
    counts = torch.arange(classes) + 6
    labels = torch.repeat_interleave(torch.arange(classes), counts)
    inputs = torch.arange(len(labels), dtype=torch.float32).unsqueeze(1)
    kinds = {"kind": tuple("ab"[i < 6] for i in range(classes))} if groups else {}
    return ClassData(inputs, labels, tuple(f"c{i}" for i in range(classes)), attributes=kinds)


def test_tasks_are_what_they_say() -> None:
    source = data()
    batch = MetaDataset(source).batch(0, 40)
    sizes = set()
    for i in range(40):
        one = batching.select(batch, i)
        classes: dict[int, set[int]] = {}
        drawn = []
        for rows in (one.support, one.query):
            found = rows.inputs[rows.mask, 0].long()
            drawn += found.tolist()
            for row, label in zip(found.tolist(), rows.labels[rows.mask].tolist(), strict=True):
                classes.setdefault(label, set()).add(int(source.labels[row]))
        assert len(set(drawn)) == len(drawn)
        assert all(len(each) == 1 for each in classes.values())
        assert len(set.union(*classes.values())) == len(classes)
        assert sorted(classes) == list(range(len(classes)))
        assert 5 <= len(classes) <= 9
        assert set(one.query.labels[one.query.mask].tolist()) == set(classes)
        sizes.add(len(classes))
    assert len(sizes) > 2


def test_stream_is_seekable() -> None:
    tasks = MetaDataset(data(), seed=3)
    ahead, whole = batching.select(tasks.batch(5, 2), 0), batching.select(tasks.batch(0, 6), 5)
    assert torch.equal(ahead.support.inputs, whole.support.inputs)
    assert torch.equal(ahead.query.labels, whole.query.labels)
    assert not torch.equal(MetaDataset(data(), seed=4).batch(0, 6).support.inputs, tasks.batch(0, 6).support.inputs)


def test_classes_within_one_group() -> None:
    source = data(groups=True)
    tasks = MetaDataset(source, within="kind")
    for i in range(10):
        one = batching.select(tasks.batch(i, 1), 0)
        classes = source.labels[one.support.inputs[one.support.mask, 0].long()]
        assert int(classes.max()) < 6


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="unknown attribute"):
        MetaDataset(data(), within="family")
    with pytest.raises(InputError, match="5"):
        MetaDataset(data(4))


def test_describe_and_move() -> None:
    tasks = MetaDataset(data())
    assert tasks.to("cpu") is tasks
    assert tasks.describe()["tasks"] == "MetaDataset"
    assert len(tasks.classes) == 9
    assert tasks.fingerprint == data().fingerprint
    tasks.bank(3).batch(0, 3)
