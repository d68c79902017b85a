"""Tasks padded to common numbers of attributes and classes."""

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.tasks import Attributes, FewShot, Linear, LinearRegression, Mixture, Sinusoid
from quickstudy_studies.unlike_tables.study import Raw
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def few_shot(**options):
    return FewShot(DATA, **{"ways": 2, "shots": 3, "queries": 2, **options})


def test_padding_adds_nothing_but_padding() -> None:
    source, tasks = few_shot(), Attributes(few_shot(), slots=6, ways=4)
    plain, padded = source.batch(5, 3), tasks.batch(5, 3)
    for rows, own, each in ((padded.support, plain.support, 3), (padded.query, plain.query, 2)):
        assert rows.ways == 4
        assert rows.inputs.shape == (3, 4 * each, 6, 2)
        real = torch.arange(4 * each) < 2 * each
        assert torch.equal(rows.mask, real.expand(3, -1))
        assert torch.equal(rows.inputs[:, real, :4, 0], own.inputs)
        assert torch.equal(rows.labels[:, real], own.labels)
        assert not rows.inputs[:, :, 4:].any()
        assert bool((rows.inputs[:, :, :4, 1] == 1).all())


def test_random_attributes_are_distinct_columns_of_the_same_rows() -> None:
    tasks = Attributes(few_shot(), slots=3, attributes=(1, 3))
    batch, plan = tasks.batch(0, 300), tasks.plan(torch.arange(300))
    source = few_shot().batch(0, 300)
    numbers = (plan["columns"] >= 0).sum(1)
    assert numbers.unique().tolist() == [1, 2, 3]
    assert bool((torch.bincount(numbers)[1:] - 100).abs().max() < 30)
    seen = set()
    for i, columns in enumerate(plan["columns"].tolist()):
        chosen = [column for column in columns if column >= 0]
        assert len(set(chosen)) == len(chosen)
        seen.add(tuple(chosen))
        for rows, own in ((batch.support, source.support), (batch.query, source.query)):
            assert torch.equal(rows.inputs[i, :, : len(chosen), 0], own.inputs[i][:, chosen])
            assert not rows.inputs[i, :, len(chosen) :].any()
    assert len(seen) == 4 + 4 * 3 + 4 * 3 * 2
    assert not torch.equal(
        Attributes(few_shot(), 3, (1, 3), seed=1).batch(0, 9).support.inputs, batch.support.inputs[:9]
    )


def test_standardised_by_the_support_alone() -> None:
    tasks = Attributes(few_shot(shots=(2, 3)), slots=5, ways=3, standardise=True)
    batch, source = tasks.batch(0, 8), few_shot(shots=(2, 3)).batch(0, 8)
    for i in range(8):
        rows = source.support.inputs[i][source.support.mask[i]].double()
        mean, deviation = rows.mean(0), rows.std(0, correction=0)
        expected = ((source.query.inputs[i] - mean) / deviation).clamp(-5, 5).float()
        torch.testing.assert_close(batch.query.inputs[i, :4, :4, 0], expected)
        assert not batch.query.inputs[i, :, 4:].any()


def test_what_is_constant_in_the_support_becomes_zero() -> None:
    data = qs.datasets.arrays([[7.0, float(i)] for i in range(20)], [i % 2 for i in range(20)])
    rows = Attributes(FewShot(data, 2, 3, 4), slots=2, standardise=True).batch(0, 5).query.inputs
    assert not rows[..., 0, 0].any()
    assert bool(rows[..., 1, 0].any())


def test_unlike_tables_and_families_share_batches() -> None:
    other = qs.datasets.arrays(torch.randn(60, 7), torch.arange(60) % 3, "other")
    parts = [
        Attributes(FewShot(data, ways, 2, 2), slots=8, attributes=(2, 8), ways=3)
        for data, ways in ((DATA, 2), (other, (2, 3)))
    ]
    mixture = Mixture(parts)
    assert mixture.uniform
    batch = mixture.batch(0, 40)
    assert batch.support.inputs.shape == (40, 6, 8, 2)
    most = batch.support.inputs[..., 1].sum(2).amax(1)
    which = mixture.part_of(torch.arange(40))
    assert most[which == 0].max() == 4
    assert most[which == 1].max() == 7
    bank = mixture.bank(6)
    assert torch.equal(bank.batch(3, 2).query.inputs, bank.batch(0, 6).query.inputs[3:5])
    assert set(mixture.classes) == {*DATA.classes, "0", "1", "2"}
    assert mixture.describe()["parts"][0]["source"]["tasks"] == "FewShot"
    regression = Mixture([Attributes(LinearRegression(d, shots=5, queries=3), slots=3) for d in (1, 3)])
    assert regression.batch(0, 10).support.inputs[..., 1].sum(2).unique().tolist() == [1, 3]
    # Families of unlike parameters need no padding at all.
    assert Mixture([Sinusoid(), Linear()]).batch(0, 30).query.labels.shape == (30, 10, 1)


def test_learners_that_compare_rows_answer_as_without_padding() -> None:
    plain, padded = few_shot().batch(0, 1), Attributes(few_shot(), slots=9, ways=4).batch(0, 1)
    for learner in (
        qs.learners.NearestNeighbour(),
        qs.learners.LogisticRegressionOnFeatures(Raw(), 2, normalise=False),
    ):
        found, expected = (
            batching.predict(learner, batching.adapt(learner, tasks.support), tasks.query.inputs)
            for tasks in (padded, plain)
        )
        torch.testing.assert_close(found[:, :4, :2].softmax(2), expected.softmax(2), atol=2e-4, rtol=1e-3)


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="do not fit into slots=3"):
        Attributes(few_shot(), slots=3)
    with pytest.raises(InputError, match="do not fit into slots=9"):
        Attributes(few_shot(), slots=9, attributes=(5, 9))
    with pytest.raises(InputError, match="2 ways, which ways=1 cannot pad"):
        Attributes(few_shot(), slots=4, ways=1)
    with pytest.raises(InputError, match="which ways=3 cannot pad"):
        Attributes(Linear(), slots=4, ways=3)
    with pytest.raises(InputError, match="no batches of inputs"):
        Attributes(Attributes(few_shot(), slots=4), slots=4)
    with pytest.raises(InputError, match="unknown table 'wines'"):
        qs.datasets.table("wines")


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("cancer", (569, 30), 2), ("digits", (1797, 64), 10), ("iris", (150, 4), 3)]
)
def test_tables(name, shape, classes) -> None:
    data = qs.datasets.table(name)
    assert data.inputs.shape == shape
    assert len(data.classes) == classes
    assert data.name == name
    assert data.classes[0].startswith(f"{name}:")
