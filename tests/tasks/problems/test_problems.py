"""Optimisation problems: seekable, learnable, exactly what they say."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import CheckpointError, InputError
from quickstudy.evaluation import find_metric
from quickstudy.nets.optimizees import ACTIVATIONS, CharacterGRU, character_mlp, perceptron, small_conv
from quickstudy.operators import trees
from quickstudy.problem import Optimizee, Problem
from quickstudy.tasks import (
    Bank,
    Characters,
    Fitting,
    Imitation,
    LogisticRegression,
    Mixture,
    Quadratics,
    TaskDistribution,
)
from quickstudy.tasks.problems.optimizer_problems import digits, families

DIGITS = digits()
TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 8
PERCEPTRON = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))
CONV = small_conv(1, 8, (4,), 5)


def fitting(**options: Any) -> Fitting:
    return Fitting(PERCEPTRON, DIGITS, **{"rows": 60, "query_rows": 20, **options})


def characters(**options: Any) -> Characters:
    return Characters(character_mlp(20, 4), **{"text": TEXT, "context": 4, "vocabulary": 20, "rows": 80, **options})


def every() -> list[TaskDistribution]:
    return [
        Quadratics(conditioning=(1, 10), scale=(0.5, 2)),
        LogisticRegression(4, 3, rows=20, query_rows=10),
        fitting(input_scale=(0.5, 2), start_scale=(0.5, 2)),
        fitting(rows=(20, 60)),
        fitting(query_rows=None),
        Imitation(perceptron(3, (4,), 2, "tanh"), 3, 2, rows=20, judged=10, input_scale=1.0),
        Imitation(perceptron(3, (4,), 3), 3, 3, classify=True, rows=20, judged=20, input_scale=1.0),
        Fitting(CONV, DIGITS, rows=30, query_rows=10, ways=5),
        characters(),
        Characters(CharacterGRU(20, 4, 6), TEXT, 4, 20, 80, 30),
    ]


EVERY = [pytest.param(tasks, id=f"{number}-{tasks.name}") for number, tasks in enumerate(every())]


def same(one: Any, other: Any) -> bool:
    pairs = zip(trees.leaves(one), trees.leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def close(one: Any, other: Any) -> None:
    torch.testing.assert_close(trees.leaves(one), trees.leaves(other))


@pytest.mark.parametrize("tasks", EVERY)
def test_a_task_is_a_function_of_seed_and_number(tasks: TaskDistribution) -> None:
    batch = tasks.batch(0, 6)
    assert tasks.metric == "loss"
    assert isinstance(batch.support, Problem)
    assert isinstance(batch.query.inputs, Optimizee)
    # Rounding of a vector's exponential differs with its length, where a scale is drawn.
    close(tasks.batch(4, 1), batching.select(batch, slice(4, 5)))
    close(tasks.draw(torch.tensor([5, 2])), batching.select(batch, torch.tensor([5, 2])))
    assert not same(batching.select(batch, 0), batching.select(batch, 1))
    own, tasks.seed = tasks.seed, 1
    assert not same(tasks.batch(0, 6), batch)
    tasks.seed = own


@pytest.mark.parametrize("tasks", EVERY)
def test_banks_are_saved_and_loaded(tasks: TaskDistribution, tmp_path: Path) -> None:
    bank = tasks.bank(5)
    bank.save(tmp_path / "bank")
    assert same(Bank.load(tmp_path / "bank", tasks).batch(0, 5), bank.batch(0, 5))
    assert bank.describe()["bank"] == 5


@pytest.mark.parametrize("tasks", EVERY)
def test_gradient_descent_learns(tasks: TaskDistribution) -> None:
    rate = 0.05 if isinstance(tasks, Quadratics) else 0.5
    learner = qs.learners.L2O(qs.rules.SGD(rate), steps=40)
    report = qs.evaluate(learner, tasks, 6, curve_steps=40)
    assert report.metric == "loss"
    assert len(report.curve) == 41
    assert report.curve[40] < 0.97 * report.curve[0]
    assert report.mean == pytest.approx(report.curve[40])


def test_a_loss_is_evaluated_as_by_a_loop() -> None:
    learner, bank = qs.learners.L2O(qs.rules.SGD(0.1), steps=3), fitting().bank(4)
    report = qs.evaluate(learner, bank, 4, chunk=3)
    for number in range(4):
        task = batching.select(bank.batch(number, 1), 0)
        theta = task.support.start
        for _ in range(3):
            theta = {name: value.clone().requires_grad_() for name, value in theta.items()}
            logits = functional_call(PERCEPTRON, theta, task.support.inputs.inputs)
            loss = nn.functional.cross_entropy(logits, task.support.labels)
            grads = torch.autograd.grad(loss, list(theta.values()))
            theta = {name: value.detach() - 0.1 * g for (name, value), g in zip(theta.items(), grads, strict=True)}
        logits = functional_call(PERCEPTRON, theta, task.query.inputs.inputs)
        assert report.values[number] == pytest.approx(float(nn.functional.cross_entropy(logits, task.query.labels)))
    assert find_metric("loss").lower_is_better
    assert qs.evaluate(learner, bank, 4, metric="accuracy").metric == "accuracy"


def test_any_learner_can_be_measured_by_its_loss() -> None:
    data = qs.datasets.arrays(torch.randn(60, 4), torch.arange(60) % 5)
    bank, learner = qs.tasks.FewShot(data, 3, 1, 2).bank(3), qs.learners.ProtoNet(qs.nets.mlp(4))
    tasks = [batching.select(bank.batch(i, 1), 0) for i in range(3)]
    losses = [float(learner.loss(learner.adapt(task.support), task.query).detach()) for task in tasks]
    assert qs.evaluate(learner, bank, metric="loss").values.tolist() == pytest.approx(losses, rel=1e-5)
    with pytest.raises(InputError, match="a sequence has no query"):
        qs.evaluate(learner, qs.tasks.Sequential(data, 3), 2, metric="loss")


def test_quadratics_are_their_formula() -> None:
    task = batching.select(Quadratics().batch(0, 1), 0)
    learner = qs.learners.L2O(qs.rules.SGD(0.1), steps=0)
    w, y, theta = task.support.inputs.inputs, task.support.labels, task.support.start["weight"]
    expected = (w @ theta.T - y).square().sum() / 10
    torch.testing.assert_close(learner.loss(learner.adapt(task.support), task.query), expected)
    assert same(task.query.inputs, task.support.inputs)


def test_quadratics_are_of_their_law() -> None:
    plain = Quadratics(6, start_scale=0.1).batch(0, 2000)
    for values, spread in ((plain.support.inputs.inputs, 1), (plain.support.labels, 1)):
        assert float(values.mean()) == pytest.approx(0, abs=0.02)
        assert float(values.std()) == pytest.approx(spread, rel=0.02)
    assert float(plain.support.start["weight"].std()) == pytest.approx(0.1, rel=0.02)
    hard = Quadratics(6, conditioning=16.0, scale=2.0).batch(0, 2000)
    spreads = hard.support.inputs.inputs.std((0, 1))
    torch.testing.assert_close(spreads, 2 * 16 ** -torch.linspace(0, 1, 6), rtol=0.05, atol=0)


def test_labels_of_logistic_regression_follow_a_teacher() -> None:
    sharp, dull = (LogisticRegression(4, 3, 400, None, sharpness=s).batch(0, 8) for s in (30.0, 0.01))
    learner = qs.learners.L2O(qs.rules.SGD(2.0), steps=100)
    losses = [
        float(batching.map_tasks(learner.loss, batching.adapt(learner, batch.support), batch.query).mean())
        for batch in (sharp, dull)
    ]
    assert losses[0] < 0.3
    # Labels that say nothing: the entropy of three classes, less what 400 rows let 15 parameters remember.
    assert losses[1] == pytest.approx(torch.tensor(3.0).log().item(), abs=0.05)


def test_fitted_and_judging_rows_are_apart_and_balanced() -> None:
    tasks = fitting()
    plan = tasks.plan(torch.arange(50))
    support, query = plan["support"], plan["query"]
    for one, other in zip(support, query, strict=True):
        assert len({*one.tolist(), *other.tolist()}) == 80
    batch = tasks.gather(plan)
    for rows, each in ((batch.support, 6), (batch.query, 2)):
        assert (torch.nn.functional.one_hot(rows.labels, 10).sum(1) == each).all()
    # One label of a task is one class of the data, and the classes change places from task to task.
    classes = DIGITS.labels[support]
    assert all(len(set(classes[0][batch.support.labels[0] == label].tolist())) == 1 for label in range(10))
    assert len(set(classes[:, 0].tolist())) == 10
    assert torch.equal(batch.support.inputs.inputs, DIGITS.inputs[support])
    everything = fitting(query_rows=None).batch(0, 2)
    assert same(everything.support.inputs, everything.query.inputs)


def test_masks_hide_rows_that_are_not_drawn() -> None:
    batch = fitting(rows=(20, 60)).batch(0, 200)
    shown = batch.support.mask.sum(1)
    assert int(shown.min()) >= 20
    assert int(shown.max()) <= 60
    assert len(shown.unique()) > 30
    assert batch.query.mask is None
    task = batching.select(batch, 0)
    count = int(shown[0])
    cut = Problem(
        Optimizee(task.support.inputs.inputs[:count], PERCEPTRON), task.support.labels[:count], task.support.start
    )
    learner = qs.learners.L2O(qs.rules.SGD(0.1), steps=2)
    close(learner.adapt(task.support).theta, learner.adapt(cut).theta)


def test_scales_are_log_uniform() -> None:
    tasks = fitting(input_scale=(0.1, 10), start_scale=(0.5, 2))
    plan = tasks.plan(torch.arange(4000))
    for name, low, high in (("input_scale", 0.1, 10), ("start_scale", 0.5, 2)):
        exponents = plan[name].log() / torch.tensor(high).log()
        assert float(exponents.min()) == pytest.approx(-1, abs=0.01)
        assert float(exponents.max()) == pytest.approx(1, abs=0.01)
        assert float(exponents.mean()) == pytest.approx(0, abs=0.05)
        assert low == pytest.approx(1 / high)
    batch = tasks.gather({name: value[:2] for name, value in plan.items()})
    plain = fitting().batch(0, 2)
    scale = plan["input_scale"][:2].reshape(-1, 1, 1, 1, 1)
    torch.testing.assert_close(batch.support.inputs.inputs, scale * plain.support.inputs.inputs)
    ratio = batch.support.start["1.weight"] / plain.support.start["1.weight"]
    torch.testing.assert_close(ratio, plan["start_scale"][:2].reshape(-1, 1, 1).expand_as(ratio))


def test_characters_are_the_texts() -> None:
    tasks = characters(query_rows=30)
    plan = tasks.plan(torch.arange(3))
    batch = tasks.gather(plan)
    assert "".join(tasks.characters).startswith(" o")
    numbers = [tasks.characters.find(character) + 1 for character in TEXT]
    for place, support, labels, query, asked in zip(
        plan["place"].tolist(),
        batch.support.inputs.inputs.tolist(),
        batch.support.labels.tolist(),
        batch.query.inputs.inputs.tolist(),
        batch.query.labels.tolist(),
        strict=True,
    ):
        assert support == [numbers[place + row : place + row + 4] for row in range(80)]
        assert labels == numbers[place + 4 : place + 84]
        assert query == [numbers[place + 84 + row : place + 88 + row] for row in range(30)]
        assert asked == numbers[place + 88 : place + 118]
    places = tasks.plan(torch.arange(3000))["place"]
    assert int(places.min()) == 0
    assert int(places.max()) == len(TEXT) - 118


def test_every_installation_has_a_text() -> None:
    tasks = Characters(character_mlp(64, 8))
    assert len(tasks.characters) == 63
    assert tasks.batch(0, 2).support.inputs.inputs.shape == (2, 512, 8)


def test_banks_of_other_problems_are_refused(tmp_path: Path) -> None:
    pairs = [
        (fitting(), Fitting(CONV, DIGITS, 60, 20)),
        (fitting(), Fitting(PERCEPTRON, DIGITS.subset(range(9)), 60, 20)),
        (Quadratics(), Quadratics(9)),
        (LogisticRegression(), LogisticRegression(rows=65)),
        (characters(), characters(text=TEXT + "!")),
    ]
    for tasks, other in pairs:
        tasks.bank(2).save(tmp_path / "bank")
        with pytest.raises(CheckpointError, match="other data"):
            Bank.load(tmp_path / "bank", other)


def test_bad_arguments_are_refused() -> None:
    for options, words in (
        ({"rows": 0}, "rows must be"),
        ({"query_rows": 0}, "query_rows must be"),
        ({"rows": 5000}, "examples but rows=5000"),
        ({"ways": 11}, r"ways must lie in 2\.\.10"),
        ({"input_scale": 0.0}, "input_scale must be"),
        ({"start_scale": (2, 1)}, "start_scale must be"),
        ({"start_scale": "big"}, "start_scale must be"),
    ):
        with pytest.raises(InputError, match=words):
            fitting(**options)
    for build, words in (
        (lambda: Quadratics(0), "dimensions must be"),
        (lambda: LogisticRegression(ways=1), "ways=1 at least 2"),
        (lambda: LogisticRegression(query_rows=0), "query_rows=0"),
        (lambda: characters(text="short"), "the text has 5 characters"),
        (lambda: characters(vocabulary=1), "vocabulary=1"),
        (lambda: digits("half"), "unknown part"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=words):
            build()


def test_problems_of_several_nets_come_in_blocks() -> None:
    parts = [fitting(), Fitting(CONV, DIGITS, 30, 10, 5), Quadratics(), characters()]
    mixture = Mixture(parts, "blocked", block=4)
    assert not mixture.uniform
    assert mixture.metric == "loss"
    which = mixture.part_of(torch.arange(32))
    # In order: from the plan of many tasks made ahead, too.
    for start in range(0, 32, 4):
        batch, number = mixture.batch(start, 4), int(which[start])
        assert batch.support.inputs.net is parts[number].net
        assert same(batch, parts[number].batch(start, 4))
        assert same(batching.select(batch, 2), batching.select(mixture.batch(start + 2, 1), 0))
    with pytest.raises(InputError, match="cannot be one batch"):
        mixture.batch(2, 4)
    runs = mixture.runs(torch.arange(2, 12))
    assert [run.tolist() for run in runs] == [[2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(InputError, match="different shapes or nets"):
        Mixture(parts)
    with pytest.raises(InputError, match="itself a mixture"):
        Mixture([mixture, fitting()], "blocked", 4)
    # Two nets whose plans look alike are no batch either.
    assert not Mixture([fitting(), Fitting(small_conv(1, 8, (4,), 10), DIGITS, 60, 20)], "blocked", 4).uniform
    assert Mixture([fitting(), fitting(seed=1)]).uniform


def test_banks_of_several_nets_are_evaluated(tmp_path: Path) -> None:
    parts = [fitting(rows=60), fitting(rows=40), Quadratics()]
    mixture = Mixture(parts, "blocked", block=3)
    bank = mixture.bank(8)
    assert not bank.uniform
    bank.save(tmp_path / "bank")
    again = Bank.load(tmp_path / "bank", mixture)
    learner, seen = qs.learners.L2O(qs.rules.SGD(0.05), steps=3), []
    report = qs.evaluate(learner, again, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (8, 8)
    for number in range(8):
        task = batching.select(bank.batch(number, 1), 0)
        loss = float(learner.loss(learner.adapt(task.support), task.query))
        assert report.values[number] == pytest.approx(loss, rel=1e-4)


NETS = [
    *(perceptron(64, (5,), 10, activation) for activation in ACTIVATIONS),
    small_conv(1, 8, (3, 4), 10, "elu"),
    nn.Sequential(
        nn.Conv2d(1, 4, 3, 2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.LayerNorm(36), nn.Linear(36, 10)
    ),
]
OF_NETS = [Fitting(net, DIGITS, 20, 10) for net in NETS] + [
    Characters(net, TEXT, 4, 20, 20, 10) for net in (character_mlp(20, 4, 3, 5), CharacterGRU(20, 3, 5))
]


@pytest.mark.parametrize("tasks", OF_NETS, ids=lambda tasks: type(tasks).__name__)
def test_second_derivatives_of_a_batch_are_those_of_each_task(tasks: Any) -> None:
    tasks.net.double()
    batch = batching.to_dtype(tasks.batch(0, 2), torch.float64)
    start = {name: value.requires_grad_() for name, value in batch.support.start.items()}
    learner = qs.learners.L2O(qs.rules.SGD(0.3), 2, differentiation=qs.inner.differentiation.Unrolled())
    losses = batching.map_tasks(learner.loss, batching.adapt(learner, batch.support), batch.query)
    found = torch.autograd.grad(losses.sum(), list(start.values()))
    for number in range(2):
        first = {name: value[number].detach().requires_grad_() for name, value in start.items()}
        theta = first
        rows, asked = batching.select(batch.support, number), batching.select(batch.query, number)
        for _ in range(2):
            loss = nn.functional.cross_entropy(functional_call(tasks.net, theta, rows.inputs.inputs), rows.labels)
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
            theta = {name: value - 0.3 * g for (name, value), g in zip(theta.items(), grads, strict=True)}
        loss = nn.functional.cross_entropy(functional_call(tasks.net, theta, asked.inputs.inputs), asked.labels)
        torch.testing.assert_close(losses[number], loss)
        for one, other in zip(found, torch.autograd.grad(loss, list(first.values())), strict=True):
            torch.testing.assert_close(one[number], other)


def test_a_budget_of_steps_keeps_nets_apart() -> None:
    mixture = qs.tasks.Budgets(Mixture([fitting(), Quadratics()], "blocked", block=2), (1, 4))
    assert not mixture.bank(2).uniform
    report = qs.evaluate(qs.learners.L2O(qs.rules.SGD(0.01), steps=4), mixture, 6)
    assert len(report.values) == 6


def test_the_default_mixture_is_cheap_and_whole() -> None:
    figures = qs.datasets.arrays(torch.rand(400, 1, 14, 14), torch.arange(400) % 20, name="figures")
    parts = families(digits("train"), figures, seed=3)
    mixture = Mixture(parts, "blocked", 2)
    assert len({mixture.batch(2 * k, 2).support.inputs.net for k in range(len(parts))}) == len(parts)
    sizes = [sum(value[0].numel() for value in part.batch(0, 1).support.start.values()) for part in parts]
    assert max(sizes) < 30_000
    learner = qs.learners.L2O(qs.rules.SGD(0.01), steps=1, batch=32)
    for part in parts:
        assert torch.isfinite(torch.as_tensor(qs.evaluate(learner, part, 2).values)).all()


def test_parts_of_the_digits_are_apart() -> None:
    train, val, test = (digits(part) for part in ("train", "val", "test"))
    assert len(train) + len(val) + len(test) == len(DIGITS) == 1797
    assert len(train.classes) == len(test.classes) == 10
    rows = [tuple(row.flatten().tolist()) for part in (train, val, test) for row in part.inputs]
    assert sorted(rows) == sorted(tuple(row.flatten().tolist()) for row in DIGITS.inputs)


@pytest.mark.slow
def test_the_default_mixture_is_there() -> None:
    train, test = (qs.tasks.optimizer_problems(part=part) for part in ("train", "test"))
    assert len(train.parts) == len(test.parts) == 16
    assert train.batch(32, 16).support.labels.shape[0] == 16
    assert not set(train.parts[9].classes) & set(test.parts[9].classes)
    with pytest.raises(InputError, match="unknown part"):
        qs.tasks.optimizer_problems(part="all")  # type: ignore[arg-type]
