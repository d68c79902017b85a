"""Baselines against scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import quickstudy as qs
from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.learners import BaselinePlusPlus, FineTune, LogisticRegressionOnFeatures, NearestNeighbour
from tests.helpers.blobs import make_blobs

pytestmark = pytest.mark.usefixtures("float64")


class Body(nn.Linear):
    features = 5


class Wide(nn.Identity):
    features = 64


def rows(count: int = 15) -> Examples:
    centres = torch.randn(3, 4)
    labels = torch.arange(count) % 3
    return Examples(centres[labels] + 0.7 * torch.randn(count, 4), labels)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
def test_logistic_regression_is_scikit_learns(normalise: bool, c: float) -> None:
    support, query = rows(), rows(6)
    learner = LogisticRegressionOnFeatures(Body(4, 5), classes=2, c=c, steps=5000, normalise=normalise)
    state = learner.adapt(support)

    def features(inputs: torch.Tensor) -> np.ndarray:
        found = learner.net(inputs).detach()
        return (F.normalize(found, dim=-1) if normalise else found).numpy()

    model = LogisticRegression(C=c, tol=1e-10, max_iter=10000).fit(features(support.inputs), support.labels.numpy())
    # The intercept's trace of a penalty moves the solution by less than this.
    np.testing.assert_allclose(state.weight[:, :-1].numpy(), model.coef_, atol=1e-3)
    found = learner.predict(state, query.inputs).softmax(1).detach().numpy()
    np.testing.assert_allclose(found, model.predict_proba(features(query.inputs)), atol=1e-3)


def test_logistic_regression_converges_in_its_default_steps() -> None:
    support, query = rows(), rows(6)
    body = Body(4, 5)
    few, many = (LogisticRegressionOnFeatures(body, 2, steps=steps) for steps in (200, 20000))
    a, b = (each.predict(each.adapt(support), query.inputs).softmax(1) for each in (few, many))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_logistic_regression_converges_with_many_rows_and_ways() -> None:
    labels = torch.arange(100) % 20
    centres = torch.randn(20, 64)
    rows, new = ((centres[labels] + torch.randn(100, 64)).relu() for _ in range(2))
    learners = (LogisticRegressionOnFeatures(Wide(), 2, steps=steps) for steps in (200, 20000))
    a, b = (each.predict(each.adapt(Examples(rows, labels)), new).softmax(1) for each in learners)
    torch.testing.assert_close(a, b, atol=5e-4, rtol=0)


def test_nearest_neighbour_is_scikit_learns() -> None:
    support, query = rows(), rows(30)
    learner = NearestNeighbour()
    model = KNeighborsClassifier(1).fit(support.inputs.numpy(), support.labels.numpy())
    logits = learner.predict(learner.adapt(support), query.inputs)
    np.testing.assert_array_equal(logits.argmax(1).numpy(), model.predict(query.inputs.numpy()))
    gaps, _ = model.kneighbors(query.inputs.numpy())
    np.testing.assert_allclose(-logits.max(1).values.numpy(), gaps[:, 0] ** 2)
    assert not list(learner.parameters())
    images = Examples(torch.rand(3, 1, 4, 4), [0, 1, 2])
    assert learner.predict(learner.adapt(images), images.inputs).argmax(1).tolist() == [0, 1, 2]
    pixels = Examples(torch.tensor([[0], [100], [250]], dtype=torch.uint8), [0, 1, 2])
    near = torch.tensor([[40], [60], [240]], dtype=torch.uint8)
    assert learner.predict(learner.adapt(pixels), near).argmax(1).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="pytree"):
        learner.adapt(Examples((torch.zeros(2, 1),), [0, 1]))
    with pytest.raises(InputError, match="temperature"):
        NearestNeighbour(0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("adapts", ["head", "all"])
def test_fine_tuning_is_torch_optim(adapts: str, optimizer: str) -> None:
    support, query = rows(), rows(6)
    body = Body(4, 5)
    learner = FineTune(body, 7, lr=0.05, steps=12, adapts=adapts, optimizer=optimizer, weight_decay=0.01)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    found = learner.predict(learner.adapt(support), query.inputs)

    own, head = Body(4, 5), nn.Linear(5, 3)
    own.load_state_dict(body.state_dict())
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    tuned = [*head.parameters(), *(own.parameters() if adapts == "all" else [])]
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    optimiser = kind(tuned, lr=0.05, weight_decay=0.01)
    for _ in range(12):
        optimiser.zero_grad()
        F.cross_entropy(head(own(support.inputs)), support.labels).backward()
        optimiser.step()
    torch.testing.assert_close(found, head(own(query.inputs)), rtol=1e-6, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_baseline_plus_plus_by_torch_optim() -> None:
    support, query = rows(), rows(6)
    body = Body(4, 5)
    learner = BaselinePlusPlus(body, 7, lr=0.05, steps=9, optimizer="sgd", weight_decay=0.0)
    found = learner.predict(learner.adapt(support), query.inputs)
    directions = F.normalize(body(support.inputs), dim=-1).detach()
    weight = nn.Parameter(torch.stack([directions[support.labels == k].mean(0) for k in range(3)]))
    optimiser = torch.optim.SGD([weight], lr=0.05)
    for _ in range(9):
        optimiser.zero_grad()
        F.cross_entropy(10 * F.linear(directions, F.normalize(weight, dim=-1)), support.labels).backward()
        optimiser.step()
    expected = 10 * F.linear(F.normalize(body(query.inputs), dim=-1), F.normalize(weight, dim=-1))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [FineTune, BaselinePlusPlus])
def test_pretraining_learns_all_classes(kind: type[FineTune]) -> None:
    torch.set_default_dtype(torch.float32)
    data = make_blobs()
    learner = kind(qs.nets.mlp(4, (16,)), classes=12, steps=20)
    run = qs.meta_train(
        learner, qs.tasks.Supervised(data, batch=32), qs.outer.Gradient(0.02), steps=150, meta_batch=1, progress=False
    )
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    report = qs.evaluate(run.learner, qs.tasks.FewShot(data, ways=5, shots=1, queries=5), tasks=50)
    assert report.accuracy > 0.8


def test_pretraining_on_few_shot_tasks_is_refused() -> None:
    torch.set_default_dtype(torch.float32)
    learner = FineTune(qs.nets.mlp(4, (8,)), classes=12)
    tasks = qs.tasks.FewShot(make_blobs(), ways=5, queries=2)
    with pytest.raises(InputError, match=r"tasks\.Supervised"):
        qs.meta_train(learner, tasks, steps=1, progress=False)
    with pytest.raises(InputError, match="no pretraining head"):
        qs.meta_train(qs.learners.ProtoNet(qs.nets.mlp(4)), tasks, steps=1, objective="pretraining", progress=False)
    with pytest.raises(InputError, match="no parameter to meta-train"):
        qs.meta_train(NearestNeighbour(), tasks, steps=1, progress=False)


def test_wrong_arguments() -> None:
    body = Body(4, 5)
    for build, message in (
        (lambda: FineTune(nn.Linear(2, 2), 3), "attribute `features`"),
        (lambda: FineTune(body, 0), "classes must be at least 1"),
        (lambda: FineTune(body, 3, adapts="tail"), "unknown part to adapt"),
        (lambda: FineTune(body, 3, optimizer="adamw"), "unknown optimizer"),
        (lambda: FineTune(body, 3, steps=-1), "steps must be 0 or more"),
        (lambda: FineTune(body, 3, batch_norm="x"), "unknown batch norm policy"),
        (lambda: LogisticRegressionOnFeatures(body, 3, c=0), "c must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            build()
