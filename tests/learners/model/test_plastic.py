"""Plasticity: traces in closed form and by NumPy loops, and the pattern-completion task of the paper."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.learners import Plastic
from quickstudy.nets import Hebbian, Neuromodulated, Oja
from quickstudy.tasks import PatternCompletion
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")


def sigmoid_free(layer: torch.nn.Linear, x: np.ndarray, y: np.ndarray) -> float:
    weights, bias = layer.weight.detach().numpy()[0], layer.bias.item()
    return float(np.tanh(weights @ np.concatenate([x, y]) + bias))


def by_loops(rule: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Hebb (D, N) after rows x (S, D) and y (S, N), connection by connection."""
    hebb, eligible = np.zeros((x.shape[1], y.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    for pre, post in zip(x, y, strict=True):
        old = eligible.copy()
        for i, j in np.ndindex(*hebb.shape):
            if isinstance(rule, Hebbian):
                hebb[i, j] = (1 - rule.eta.item()) * hebb[i, j] + rule.eta.item() * pre[i] * post[j]
            elif isinstance(rule, Oja):
                hebb[i, j] += rule.eta.item() * post[j] * (pre[i] - post[j] * hebb[i, j])
            elif rule.eta is None:
                hebb[i, j] = np.clip(hebb[i, j] + sigmoid_free(rule.modulator, pre, post) * pre[i] * post[j], -1, 1)
            else:
                signal, eta = sigmoid_free(rule.modulator, pre, post), rule.eta.item()
                hebb[i, j] = np.clip(hebb[i, j] + signal * old[i, j], -1, 1)
                eligible[i, j] = (1 - eta) * old[i, j] + eta * pre[i] * post[j]
    return hebb


@pytest.mark.parametrize(
    "build",
    [
        lambda: Hebbian(0.3),
        lambda: Oja(0.3),
        lambda: Neuromodulated(5, 3),
        lambda: Neuromodulated(5, 3, retroactive=True),
    ],
    ids=["hebbian", "oja", "neuromodulated", "retroactive"],
)
def test_traces_by_loops(build: Callable[[], torch.nn.Module]) -> None:
    rule = build().double()
    learner = Plastic(qs.nets.mlp(4, (6, 5)), 3, rule=rule)
    task = batching.to_dtype(masked_task(), torch.float64)
    state = learner.adapt(task.support)
    kept = task.support.mask
    x = learner.net(task.support.inputs[kept]).detach().numpy()
    hebb = by_loops(rule, x, np.eye(3)[task.support.labels[kept].numpy()])
    np.testing.assert_allclose(state.trace[0].detach().numpy(), hebb, atol=1e-12)
    assert np.abs(hebb).max() > 0.01
    weights = learner.layer.w + learner.layer.alpha * torch.from_numpy(hebb)
    expected = learner.net(task.query.inputs) @ weights
    torch.testing.assert_close(learner.predict(state, task.query.inputs), expected)


def test_hebbian_trace_in_closed_form() -> None:
    """Hebb after S rows is the sum of eta (1 - eta)^(S - 1 - i) x_i y_i^T."""
    x, y = torch.randn(6, 4), torch.randn(6, 2)
    learner = Plastic(None, 2, features=4, rule=Hebbian(0.2))
    decay = 0.2 * 0.8 ** torch.arange(5, -1, -1)
    torch.testing.assert_close(learner.adapt(Examples(x, y)).trace[0], torch.einsum("s,sd,sn->dn", decay, x, y))


def test_ojas_rule_stops_growing() -> None:
    """Its fixed point for one repeated pair is Hebb = x / y: traces do not run away where Hebb's alone would."""
    x = torch.tensor([[1.0, -2.0]]).expand(400, 2)
    learner = Plastic(None, 1, features=2, rule=Oja(0.3))
    state = learner.adapt(Examples(x, torch.full((400, 1), 0.5)))
    torch.testing.assert_close(state.trace[0], torch.tensor([[2.0], [-4.0]]))


def test_stream_is_adapting_to_every_beginning() -> None:
    learner, rows = Plastic(qs.nets.mlp(4, (6, 5)), 3), batching.to_dtype(masked_task(), torch.float64).support
    found = learner.stream(rows)
    for t in range(len(rows)):
        before = Examples(rows.inputs, rows.labels, rows.mask & (torch.arange(len(rows)) < t), rows.ways)
        torch.testing.assert_close(found[t], learner.predict(learner.adapt(before), rows.inputs[t : t + 1])[0])


def test_patterns_are_binary_and_half_erased() -> None:
    batch = PatternCompletion(bits=20, patterns=3, presentations=2, erased=0.5).batch(0, 50)
    assert batch.support.inputs.shape == (50, 6, 20)
    assert torch.equal(batch.support.inputs, batch.support.labels)
    assert batch.query.labels.unique().tolist() == [-1, 1]
    assert ((batch.query.inputs == 0).sum(-1) == 10).all()
    kept = batch.query.inputs != 0
    assert torch.equal(batch.query.inputs[kept], batch.query.labels[kept])
    for task in range(50):
        for pattern in batch.query.labels[task]:
            assert (batch.support.inputs[task] == pattern).all(1).sum() == 2
    with pytest.raises(InputError, match="erased"):
        PatternCompletion(erased=1.5)


def wrong_bits(learner: Plastic, tasks: PatternCompletion) -> float:
    batch = tasks.batch(100_000, 200)
    with torch.no_grad():
        found = batching.predict(learner, batching.adapt(learner, batch.support), batch.query.inputs)
    erased = batch.query.inputs == 0
    return float((found.sign() != batch.query.labels)[erased].double().mean())


@pytest.mark.parametrize(
    ("rule", "steps"),
    [(Hebbian(), 100), (Oja(), 100), (Neuromodulated(40, 40), 250)],
    ids=["hebbian", "oja", "neuromodulated"],
)
def test_pattern_completion(rule: torch.nn.Module, steps: int) -> None:
    """Connections learn how plastic to be: of the erased bits nearly all are restored, where at first it was half."""
    torch.set_default_dtype(torch.float32)
    tasks = PatternCompletion(bits=40, patterns=3, presentations=1)
    learner = Plastic(None, 40, features=40, rule=rule.float(), activation="tanh")
    with torch.no_grad():
        # As it comes the layer is a Hopfield net, which knows how; here the signs of plasticity are to be found.
        learner.layer.alpha.copy_(0.1 * torch.randn(40, 40))
    assert wrong_bits(learner, tasks) > 0.3
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=1e-2), steps=steps, meta_batch=8, progress=False)
    assert wrong_bits(learner, tasks) < 0.05


def test_without_plasticity_patterns_cannot_be_learned() -> None:
    torch.set_default_dtype(torch.float32)
    tasks = PatternCompletion(bits=40, patterns=3, presentations=1)
    learner = Plastic(None, 40, features=40, activation="tanh")
    with torch.no_grad():
        learner.layer.alpha.zero_()
    learner.layer.alpha.requires_grad_(False)
    qs.meta_train(learner, tasks, qs.outer.Gradient(lr=1e-2), steps=100, meta_batch=8, progress=False)
    assert 0.45 < wrong_bits(learner, tasks) < 0.55


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="tanh"):
        Plastic(None, 3, features=2, activation="tan")  # type: ignore[arg-type]
