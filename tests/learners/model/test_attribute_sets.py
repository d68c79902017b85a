"""A learner that reads tables: padding, order and number of attributes and classes."""

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.learners import AttributeSets
from quickstudy.tasks import Attributes, FewShot, LinearRegression, Mixture
from tests.helpers.blobs import make_blobs


def learner(width=7):
    torch.manual_seed(0)
    return AttributeSets(width).double()


def outputs(task, model=None):
    model, task = model or learner(), batching.to_dtype(task, torch.float64)
    return model.predict(model.adapt(task.support), task.query.inputs)


def few_shot(**options):
    return FewShot(make_blobs(), **{"ways": 2, "shots": 3, "queries": 2, **options})


def one(tasks):
    return batching.select(tasks.batch(2, 1), 0)


@pytest.mark.parametrize(("slots", "ways"), [(4, 2), (4, 5), (9, 2), (30, 6)])
def test_padding_never_changes_the_answer(slots, ways) -> None:
    expected = outputs(one(few_shot()))
    task = one(Attributes(few_shot(), slots=slots, ways=ways))
    found = outputs(task)
    torch.testing.assert_close(found[:4, :2], expected)
    assert bool((found.softmax(1)[:, 2:] == 0).all())
    # Nor what stands in the padding, so long as it is marked as such.
    noise = torch.randn_like(task.support.inputs[..., 0]) * (1 - task.support.inputs[..., 1])
    other = task.support.inputs + torch.stack([noise, torch.zeros_like(noise)], -1)
    support = Examples(other, task.support.labels, task.support.mask, task.support.ways, check=False)
    torch.testing.assert_close(outputs(qs.Task(support, task.query)), found)


def test_a_batch_of_unlike_tasks_is_answered_as_each_alone_and_unpadded() -> None:
    other = qs.datasets.arrays(torch.randn(60, 7), torch.arange(60) % 3, "other")
    sources = [few_shot(), FewShot(other, 3, 3, 2)]
    mixture = Mixture([Attributes(source, slots=8, ways=3) for source in sources])
    batch, which = mixture.batch(0, 12), mixture.part_of(torch.arange(12)).tolist()
    assert set(which) == {0, 1}
    model, batch = learner(), batching.to_dtype(batch, torch.float64)
    found = batching.predict(model, batching.adapt(model, batch.support), batch.query.inputs)
    for i, part in enumerate(which):
        plain = batching.select(sources[part].batch(i, 1), 0)
        expected = outputs(plain, model)
        torch.testing.assert_close(found[i, : len(expected), : expected.shape[1]], expected)


def test_neither_the_order_of_attributes_nor_that_of_classes_matters() -> None:
    task = one(few_shot(ways=3))
    expected = outputs(task)
    order, classes = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    support, query = (
        Examples(rows.inputs[:, order], classes[rows.labels], ways=3) for rows in (task.support, task.query)
    )
    torch.testing.assert_close(outputs(qs.Task(support, query))[:, classes], expected)


def test_it_is_the_formulas_of_its_file() -> None:
    model, task = learner(), batching.to_dtype(one(few_shot()), torch.float64)
    x, y, q = task.support.inputs, torch.nn.functional.one_hot(task.support.labels).double(), task.query.inputs
    rows, attributes, responses = range(6), range(4), range(2)

    def f(net, *parts):
        first = sum(layer(torch.atleast_1d(part)) for layer, part in zip(net.first, parts, strict=True))
        return net.second(first.clamp_min(0))

    def average(values):
        return torch.stack(list(values)).mean(0)

    v = [average(f(model.attribute, x[n, i]) for n in rows) for i in attributes]
    c = [average(f(model.response, y[n, j]) for n in rows) for j in responses]
    u = [
        f(
            model.row,
            average(f(model.values, x[n, i], v[i]) for i in attributes),
            average(f(model.answers, y[n, j], c[j]) for j in responses),
        )
        for n in rows
    ]
    for j in responses:
        w = [average(f(model.pair, x[n, i], y[n, j], u[n]) for n in rows) for i in attributes]
        again = average(f(model.again, y[n, j], u[n]) for n in rows)
        for k in range(4):
            answer = f(model.head, average(f(model.query, q[k, i], w[i]) for i in attributes), again)
            torch.testing.assert_close(outputs(task, model)[k, j], answer.squeeze())


def test_it_learns_lines_in_one_and_in_three_dimensions_at_once() -> None:
    torch.manual_seed(0)
    model = AttributeSets(16)
    parts = [LinearRegression(d, shots=10, queries=10, noise=0.1) for d in (1, 3)]
    tasks = Mixture([Attributes(part, slots=3) for part in parts])
    qs.meta_train(model, tasks, qs.outer.Gradient(lr=5e-3), steps=150, meta_batch=16, compile=False, progress=False)
    # The variance of what is asked is 1.
    assert qs.evaluate(model, parts[0], tasks=100).mean < 0.3
    assert qs.evaluate(model, parts[1], tasks=100).mean < 0.9


def test_wrong_inputs() -> None:
    with pytest.raises(InputError, match="must be positive"):
        AttributeSets(0)
    with pytest.raises(InputError, match="with indicators as of"):
        outputs(qs.Task(Examples(torch.zeros(2, 3, 4), [0, 1]), Examples(torch.zeros(2, 3, 4), [0, 1])))
    with pytest.raises(InputError, match="the query has 2 attributes but the support 3"):
        outputs(qs.Task(Examples(torch.zeros(2, 3), [0, 1]), Examples(torch.zeros(2, 2), [0, 1])))
