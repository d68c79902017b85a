"""Support by one source, query by another: what each task consists of."""

import dataclasses

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.tasks import SourcePairs
from tests.helpers.blobs import make_blobs


def test_each_side_is_of_one_source_and_one_group(blobs) -> None:
    tasks = SourcePairs(blobs, ways=3, within="group")
    plan = tasks.plan(torch.arange(200))
    assert plan["support"].shape == plan["query"].shape == (200, 3)
    sources = {name: blobs.source[rows] for name, rows in plan.items()}
    assert all((each == each[:, :1]).all() for each in sources.values())
    assert (sources["support"][:, 0] != sources["query"][:, 0]).all()
    assert torch.equal(blobs.labels[plan["support"]], blobs.labels[plan["query"]])
    groups = torch.tensor(["abc".index(each) for each in blobs.attributes["group"]])[blobs.labels[plan["support"]]]
    assert (groups == groups[:, :1]).all()
    assert set(groups[:, 0].tolist()) == {0, 1, 2}
    pairs = {(int(a), int(b)) for a, b in zip(sources["support"][:, 0], sources["query"][:, 0], strict=True)}
    assert len(pairs) == 5 * 4


def test_rows_that_a_source_lacks_are_padding() -> None:
    data = make_blobs()
    keep = ~((data.source == 0) & (data.labels < 6))
    fewer = dataclasses.replace(data, inputs=data.inputs[keep], labels=data.labels[keep], source=data.source[keep])
    batch = SourcePairs(fewer, ways=(2, 5), within="group").batch(0, 300)
    assert batch.support.labels.shape == (300, 5)
    assert torch.equal(batch.support.mask, batch.query.mask)
    assert set(batch.support.mask.sum(1).tolist()) == {2, 4}
    # Pairs without the missing source alone.
    whole = SourcePairs(fewer, ways=4, within="group").batch(0, 300)
    assert whole.support.mask is None
    assert qs.evaluate(qs.learners.NearestNeighbour(), SourcePairs(data, 4, within="group"), 50).mean > 0.9


def test_what_cannot_be_is_refused(blobs) -> None:
    with pytest.raises(InputError, match="no two sources share more than 4 classes"):
        SourcePairs(blobs, ways=5, within="group")
    with pytest.raises(InputError, match="know their sources"):
        SourcePairs(dataclasses.replace(blobs, source=None), ways=2, within="group")


def test_tasks_depend_on_their_number_alone(blobs) -> None:
    tasks = SourcePairs(blobs, ways=3, within="group", seed=4)
    one, many = tasks.batch(7, 1), tasks.batch(0, 10)
    torch.testing.assert_close(one.support.inputs[0], many.support.inputs[7])
    assert tasks.describe()["within"] == "group"
