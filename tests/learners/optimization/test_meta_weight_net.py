"""Example weights: their hyper-gradient, and that they tell right rows from wrong ones."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder, Implicit
from quickstudy.learners import L2O, MetaWeightNet
from quickstudy.nets import LossWeights, RowWeights
from quickstudy.problem import Optimizee, Problem
from quickstudy.testing.specimens import problem_task


def line(targets: list[float], start: float = 0.3) -> Problem:
    """Return rows of y = w x, and where w begins."""
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    inputs = torch.linspace(0.5, 2, len(targets), dtype=torch.float64).unsqueeze(1)
    labels = torch.tensor(targets, dtype=torch.float64).unsqueeze(1)
    return Problem(Optimizee(inputs, net), labels, {"weight": torch.full((1, 1), start, dtype=torch.float64)})


def test_the_gradient_of_rows_weights_is_that_of_the_closed_form():
    support, query = line([1.0, -2.0, 0.5, 3.0]), line([1.0, 1.2])
    learner = MetaWeightNet(RowWeights(4), qs.rules.SGD(0.1), steps=1).double()
    logits = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64)
    learner.weigh.logits.data = logits.clone()
    learner.loss(learner.adapt(support), query).backward()
    # w_1 = w_0 - a sum_i v_i g_i / sum_j v_j, with v the logistic function of the logits.
    x, y, w = support.inputs.inputs[:, 0], support.labels[:, 0], 0.3
    v, g = logits.sigmoid(), 2 * (w * x - y) * x
    mean = (v * g).sum() / v.sum()
    asked, truth = query.inputs.inputs[:, 0], query.labels[:, 0]
    outer = (2 * ((w - 0.1 * mean) * asked - truth) * asked).mean()
    expected = -outer * 0.1 * v * (1 - v) * (g - mean) / v.sum()
    assert torch.allclose(learner.weigh.logits.grad, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("weigh", [RowWeights(9), LossWeights(5)], ids=["rows", "loss"])
def test_the_gradient_through_several_mini_batches_is_the_slope(weigh):
    task = batching.to_dtype(problem_task(), torch.float64)
    learner = MetaWeightNet(weigh, qs.rules.Adam(0.05), steps=4, batch=5).double()

    def loss():
        return learner.loss(learner.adapt(task.support, random.key(2)), task.query)

    loss().backward()
    for value in learner.parameters():
        way = random.normal(random.key(1), *value.shape, dtype=torch.float64)
        at, slope = value.detach().clone(), (value.grad * way).sum()
        with torch.no_grad():
            ends = [value.copy_(at + step * way) is not None and float(loss()) for step in (1e-5, -1e-5)]
            value.copy_(at)
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("batch", [None, 4])
def test_equal_weights_are_plain_training(batch):
    task = problem_task()
    weighed, plain = MetaWeightNet(RowWeights(9), steps=5, batch=batch), L2O(qs.rules.SGD(0.1), steps=5, batch=batch)
    a, b = (learner.learn(task.support, random.key(0)) for learner in (weighed, plain))
    for name, value in a.theta.items():
        assert torch.allclose(value, b.theta[name], atol=1e-6)


def test_weights_are_constants_to_the_inner_gradient():
    # Descending mean(V(L) L) instead would add V'(L) L to each row's weight.
    support = line([1.0, -2.0, 0.5])
    learner = MetaWeightNet(LossWeights(3), qs.rules.SGD(1.0), steps=1).double()
    state = learner.start(support)
    v = learner.weights(state, support).detach()
    x, y = support.inputs.inputs[:, 0], support.labels[:, 0]
    step = (v * 2 * (0.3 * x - y) * x).sum() / v.sum()
    assert learner.step(state, support).theta["weight"].detach().item() == pytest.approx(float(0.3 - step), abs=1e-12)


@pytest.mark.parametrize("build", [lambda: RowWeights(20), lambda: LossWeights(10)], ids=["rows", "loss"])
def test_wrong_rows_come_to_count_less(build):
    torch.manual_seed(4)
    weigh = build()
    truth = torch.linspace(0.5, 2, 20)
    wrong = torch.arange(20) % 5 < 2
    support = line((truth - 6 * wrong).tolist())
    learner = MetaWeightNet(weigh, qs.rules.SGD(0.05), steps=20).double()
    qs.meta_train(
        learner,
        qs.tasks.OneTask(support, line(truth[:3].tolist())),
        qs.outer.Truncated(length=1, lr=0.05),
        steps=100,
        meta_batch=2,
        progress=False,
        precision="64-true",
        compile=False,
    )
    state = learner.adapt(support)
    weights = learner.weights(state, support).detach()
    assert weights[wrong].max() < weights[~wrong].min()
    plain = L2O(qs.rules.SGD(0.05), steps=20).adapt(support).theta["weight"].item()
    assert abs(state.theta["weight"].detach().item() - 1) < abs(plain - 1) / 2


def test_padding_weighs_nothing():
    support = line([1.0, 2.0, 3.0])
    object.__setattr__(support, "mask", torch.tensor([True, True, False]))
    learner = MetaWeightNet(LossWeights(3)).double()
    assert learner.weights(learner.start(support), support)[2] == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="Unrolled"):
        MetaWeightNet(differentiation=FirstOrder())
    assert "constants to each inner gradient" in MetaWeightNet().accepts(Implicit("neumann"))
    support = line([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="for 4 rows, and the support has 3"):
        MetaWeightNet(RowWeights(4)).double().adapt(support)
    with pytest.raises(InputError, match="hidden"):
        LossWeights(0)
    with pytest.raises(InputError, match="rows"):
        RowWeights(0)
    with pytest.raises(InputError, match="no optimisation problem"):
        MetaWeightNet().adapt(Examples(torch.zeros(2, 1), torch.tensor([0, 1])))


def test_weights_of_classes_come_to_the_inverse_of_their_frequencies():
    # Two normal classes a distance of two apart: a logistic regression fits them whatever their shares, but for its
    # bias, which balanced rows want as weights inverse to the shares give it.
    def rows(common, rare):
        quantiles = [torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(n) + 0.5) / n) for n in (common, rare)]
        inputs = torch.cat([quantiles[0] - 1, quantiles[1] + 1]).unsqueeze(1)
        return Examples(inputs, torch.arange(2).repeat_interleave(torch.tensor([common, rare])))

    support, query = rows(600, 30), rows(100, 100)
    weigh = RowWeights(630, support.labels.tolist())
    learner = MetaWeightNet(weigh, qs.rules.SGD(1.0), steps=60)
    tasks = qs.tasks.Restarts(nn.Linear(1, 2), support, query)
    outer = qs.outer.Truncated(length=1, lr=0.15)
    qs.meta_train(learner, tasks, outer, steps=70, meta_batch=2, progress=False, compile=False)
    common, rare = weigh.logits.detach().sigmoid().tolist()
    assert rare / common == pytest.approx(20, rel=0.15)
