"""Metric learners against numbers worked out by hand and plain loops."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Examples
from quickstudy.errors import InputError
from quickstudy.learners import MatchingNet, ProtoNet, RelationNet, Siamese
from quickstudy.registry import build as rebuild
from quickstudy.registry import describe
from quickstudy.testing import check_learner

pytestmark = pytest.mark.usefixtures("float64")


def task(features: int = 3) -> tuple[Examples, Examples]:
    support = Examples(torch.randn(7, features), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    query = Examples(torch.randn(5, features), torch.tensor([2, 1, 0, 0, 1]), ways=3)
    return support, query


def embedding(features: int = 3) -> nn.Module:
    return qs.nets.mlp(features, (6, 5))


def test_prototypes_by_hand() -> None:
    """Class 0 at (0,0) and (2,0), class 1 at (0,4): prototypes (1,0) and (0,4); the query is (1,2)."""
    learner = ProtoNet(nn.Identity())
    state = learner.adapt(Examples([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]], [0, 0, 1]))
    assert state.means.tolist() == [[1.0, 0.0], [0.0, 4.0]]
    logits = learner.predict(state, torch.tensor([[1.0, 2.0]]))
    assert logits.tolist() == [[-4.0, -5.0]]
    assert torch.softmax(logits, 1)[0, 0].item() == pytest.approx(1 / (1 + math.exp(-1)))
    loss = learner.loss(state, Examples([[1.0, 2.0]], [1], ways=2))
    assert loss.item() == pytest.approx(1 + math.log(1 + math.exp(-1)))


def test_cosine_prototypes_by_hand() -> None:
    learner = ProtoNet(nn.Identity(), distance="cosine")
    state = learner.adapt(Examples([[3.0, 0.0], [0.0, 5.0]], [0, 1]))
    logits = learner.predict(state, torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(logits, 10 * torch.tensor([[0.6, 0.8]]))


def test_matching_by_loops() -> None:
    support, query = task()
    learner = MatchingNet(embedding())
    with torch.no_grad():
        learner.log_scale.fill_(0.7)
    logits = learner.predict(learner.adapt(support), query.inputs)
    for row, x in enumerate(query.inputs):
        f = learner.net(x[None])[0]
        scores = [math.exp(0.7) * F.cosine_similarity(f, learner.net(s[None])[0], dim=0) for s in support.inputs]
        weights = torch.softmax(torch.stack(scores), 0)
        for k in range(3):
            share = sum((w for w, y in zip(weights, support.labels, strict=True) if y == k), torch.tensor(0.0))
            torch.testing.assert_close(logits[row, k], share.log())
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(5))


def full_context_by_loops(learner: MatchingNet, support: Tensor, query: Tensor) -> Tensor:
    """Return attention weights (Q, S), cell by cell; the query's LSTM gate by gate, as equations 3-6 have it."""
    g, size = learner.g, learner.g.hidden_size
    features = learner.net(support)

    def lstm(rows: list[Tensor], suffix: str) -> list[Tensor]:
        cell = nn.LSTMCell(size, size)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).data = getattr(g, f"{name}_l0{suffix}").data
        h, c, out = torch.zeros(size), torch.zeros(size), []
        for row in rows:
            h, c = cell(row, (h, c))
            out.append(h)
        return out

    forth, back = lstm(list(features), ""), lstm(list(features.flip(0)), "_reverse")[::-1]
    context = torch.stack([f + a + b for f, a, b in zip(features, forth, back, strict=True)])
    weights = []
    for x in query:
        f = learner.net(x[None])[0]
        h, c = f, torch.zeros(size)
        from_f, from_r = learner.f.weight_ih.chunk(2, 1)
        for _ in range(learner.reads):
            r = torch.softmax(context @ h, 0) @ context
            state, matrix = torch.cat([h, r]), torch.cat([learner.f.weight_hh, from_r], 1)
            i, forget, g, o = (from_f @ f + matrix @ state + learner.f.bias_ih + learner.f.bias_hh).chunk(4)
            c = forget.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh() + f
        scores = learner.log_scale.exp() * F.cosine_similarity(h[None], context)
        weights.append(torch.softmax(scores, 0))
    return torch.stack(weights)


def test_full_context_by_loops() -> None:
    support, query = task()
    learner = MatchingNet(embedding(), full_context=True, reads=3)
    weights = full_context_by_loops(learner, support.inputs, query.inputs)
    expected = weights @ F.one_hot(support.labels).double()
    torch.testing.assert_close(learner.predict(learner.adapt(support), query.inputs).exp(), expected)
    assert not learner.permutation_invariant


def test_full_context_skips_padding_wherever_it_is() -> None:
    support, query = task()
    learner = MatchingNet(embedding(), full_context=True, reads=2)
    mask = torch.tensor([False, True, True, False, True, True, False])
    padded = Examples(support.inputs, support.labels, mask, 3)
    dense = Examples(support.inputs[mask], support.labels[mask], ways=3)
    found = learner.predict(learner.adapt(padded), query.inputs)
    torch.testing.assert_close(found, learner.predict(learner.adapt(dense), query.inputs))


def test_full_context_needs_a_size() -> None:
    with pytest.raises(InputError, match="pass features"):
        MatchingNet(nn.Linear(2, 3), full_context=True)
    assert MatchingNet(nn.Linear(2, 3), full_context=True, features=3).g.hidden_size == 3


@pytest.mark.parametrize("normalise", [True, False])
def test_contrastive_loss_by_loops(normalise: bool) -> None:
    support, query = task()
    learner = Siamese(embedding(), margin=0.8, normalise=normalise)
    losses = []
    for x, y in zip(query.inputs, query.labels, strict=True):
        same, different = [], []
        for s, z in zip(support.inputs, support.labels, strict=True):
            a, b = learner.net(x[None])[0], learner.net(s[None])[0]
            if normalise:
                a, b = a / a.norm(), b / b.norm()
            d = (a - b).norm()
            if y == z:
                same.append(d**2)
            else:
                different.append(max(torch.tensor(0.0), 0.8 - d) ** 2)
        losses.append(sum(same) / len(same) + sum(different) / len(different))
    torch.testing.assert_close(learner.loss(learner.adapt(support), query), torch.stack(losses).mean())


def test_triplet_loss_by_loops() -> None:
    support, query = task()
    learner = Siamese(embedding(), objective="triplet", margin=0.3, normalise=False)
    losses = []
    for x, y in zip(query.inputs, query.labels, strict=True):
        d = [(learner.net(x[None]) - learner.net(s[None])).square().sum() for s in support.inputs]
        triplets = [
            torch.relu(d[p] - d[n] + 0.3)
            for p in range(7)
            for n in range(7)
            if support.labels[p] == y and support.labels[n] != y
        ]
        losses.append(torch.stack(triplets).mean())
    torch.testing.assert_close(learner.loss(learner.adapt(support), query), torch.stack(losses).mean())


def test_siamese_takes_the_class_of_the_nearest_row() -> None:
    support, query = task()
    learner = Siamese(embedding())
    logits = learner.predict(learner.adapt(support), query.inputs)
    features = F.normalize(learner.net(support.inputs), dim=-1)
    for row, x in enumerate(F.normalize(learner.net(query.inputs), dim=-1)):
        gaps = (features - x).square().sum(1)
        assert int(logits[row].argmax()) == int(support.labels[gaps.argmin()])
        assert -logits[row].max().item() == pytest.approx(gaps.min().item())


def test_distances_are_scaled_by_what_is_learned() -> None:
    net = embedding()
    support, query = task()
    plain, scaled = ProtoNet(net), ProtoNet(net, scale=0.25)
    logits = [each.predict(each.adapt(support), query.inputs) for each in (plain, scaled)]
    torch.testing.assert_close(logits[1], logits[0] / 4)
    assert [name for name, _ in scaled.named_parameters() if "net" not in name] == ["log_scale"]
    assert not [name for name, _ in plain.named_parameters() if "net" not in name]
    assert float(ProtoNet(net, "cosine", scale=3.0).log_scale.detach().exp()) == pytest.approx(3.0)
    with pytest.raises(InputError, match="scale must be positive, not 0"):
        ProtoNet(net, scale=0)


def test_siamese_loss_is_finite_where_rows_coincide() -> None:
    support, _ = task()
    learner = Siamese(embedding())
    loss = learner.loss(learner.adapt(support), support)
    loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in learner.parameters())


def related(module: Any, pair: Tensor) -> Tensor:
    """Return what a relation module makes of one joined pair (1, 2C, ...)."""
    maps = module.first(pair if pair.ndim == 4 else pair[..., None, None])
    maps = module.second(F.max_pool2d(maps, 2) if min(maps.shape[-2:]) > 1 else maps)
    return module.out(module.hidden(maps.amax((-2, -1))).relu())[0, 0]


@pytest.mark.parametrize("maps", [True, False])
def test_relation_by_loops(maps: bool) -> None:
    if maps:
        net: nn.Module = nn.Conv2d(1, 4, 3)
        support = Examples(torch.randn(5, 1, 6, 6), [0, 1, 0, 1, 1])
        query = Examples(torch.randn(3, 1, 6, 6), [1, 0, 1])
    else:
        net = nn.Linear(3, 4)
        support, query = Examples(torch.randn(5, 3), [0, 1, 0, 1, 1]), Examples(torch.randn(3, 3), [1, 0, 1])
    learner = RelationNet(net, channels=4, hidden=3, norm="group")
    state = learner.adapt(support)
    scores = learner.predict(state, query.inputs)
    total = torch.tensor(0.0)
    for q in range(3):
        for k in range(2):
            mean = net(support.inputs[support.labels == k]).mean(0)
            pair = torch.cat([mean, net(query.inputs[q : q + 1])[0]])
            r = related(learner.relation, pair[None])
            torch.testing.assert_close(scores[q, k], r)
            total = total + (torch.sigmoid(r) - float(query.labels[q] == k)) ** 2
    torch.testing.assert_close(learner.loss(state, query), total / 3)


@pytest.mark.parametrize(("norm", "runs"), [("group", 0), ("batch", 1)])
def test_relation_compares_the_support_only_for_batch_statistics(norm: Any, runs: int) -> None:
    learner = RelationNet(qs.nets.conv4(1, 8, size=16, flatten=False), channels=8, norm=norm)
    calls: list[int] = []
    learner.relation.register_forward_hook(lambda *_: calls.append(1))
    state = learner.adapt(Examples(torch.randn(4, 1, 16, 16), [0, 1, 0, 1]))
    assert len(calls) == runs
    assert learner.predict(state, torch.randn(3, 1, 16, 16)).shape == (3, 2)


def test_relation_compares_joined_features_too() -> None:
    module = RelationNet(nn.Identity(), channels=4, norm="group").relation
    features, means = torch.randn(3, 4, 5, 5), torch.randn(2, 4, 5, 5)
    pairs = torch.stack([torch.cat([mean, each]) for each in features for mean in means])
    torch.testing.assert_close(module(pairs), module(features, means))


def test_relation_takes_a_module_of_ones_own() -> None:
    class Mean(nn.Module):
        def forward(self, pairs: Tensor) -> Tensor:
            return pairs.mean(1, keepdim=True)

    learner = RelationNet(nn.Identity(), relation=Mean())
    state = learner.adapt(Examples([[0.0, 2.0], [4.0, 4.0]], [0, 1]))
    assert learner.predict(state, torch.tensor([[1.0, 1.0]])).tolist() == [[1.0, 2.5]]
    with pytest.raises(InputError, match="queries have features"):
        learner.predict(state, torch.zeros(1, 3))


def test_wrong_arguments() -> None:
    net = embedding()
    for build, message in (
        (lambda: ProtoNet(net, distance="far"), "unknown distance"),
        (lambda: ProtoNet(net, batch_norm="both"), "unknown batch norm policy"),
        (lambda: Siamese(net, objective="pairs"), "unknown objective"),
        (lambda: Siamese(net, margin=0), "margin must be positive"),
        (lambda: ProtoNet(nn.Conv2d(1, 2, 3)).adapt(Examples(torch.zeros(2, 1, 5, 5), [0, 1])), "flatten them"),
        (lambda: ProtoNet(net).adapt(Examples(torch.zeros(2, 3), [0.5, 0.5])), "this learner classifies"),
    ):
        with pytest.raises(InputError, match=message):
            build()


def test_a_distance_may_be_a_module_that_learns() -> None:
    """Maps of one row, moved by a place: bent back, they are nearer than what is as bright on average."""
    learner = ProtoNet(nn.Flatten(), qs.nets.Distortion(1, 4, cost=0.1))
    support = Examples(torch.tensor([[[[0.0, 3.0, 0.0, 0.0]]], [[[1.0, 1.0, 1.0, 1.0]]]]), torch.tensor([0, 1]))
    query = torch.tensor([[[[0.0, 0.0, 3.0, 0.0]]]])
    # Class 0: both threes meet, and both zeros beside them, at the cost of a place for each.
    logits = learner.predict(learner.adapt(support), query)
    torch.testing.assert_close(logits, torch.tensor([[-0.2, -(1 + 1 + 4 + 1.0)]]))
    assert ProtoNet(nn.Flatten()).predict(learner.adapt(support), query).argmax() == 1
    logits[0, 0].backward()
    assert float(learner.distance.log_cost.grad) == pytest.approx(-0.2)  # the cost's share, by its logarithm


def test_distances_of_other_maps_are_refused() -> None:
    for wrong in ({"height": 0}, {"reach": -1}, {"reach": math.nan}, {"reach": math.inf}, {"cost": 0.0}):
        with pytest.raises(InputError, match=r"must be positive, reach|reach must be finite"):
            qs.nets.Distortion(**{"height": 2, "width": 2, **wrong})
    with pytest.raises(InputError, match="not flattened maps of 2x2"):
        qs.nets.Distortion(2, 2)(torch.zeros(3, 5), torch.zeros(2, 5))
    with pytest.raises(InputError, match="unknown distance"):
        ProtoNet(nn.Identity(), "manhattan")  # type: ignore[arg-type]


def test_a_learner_with_its_own_distance_keeps_what_is_promised() -> None:
    net = qs.nets.ConvNet(1, (4, 4), (0,), norm="group", size=8)
    support = Examples(torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    query = Examples(torch.rand(6, 1, 8, 8), torch.tensor([2, 1, 0, 0, 1, 2]))
    learner = ProtoNet(net, qs.nets.Distortion(4, 4, reach=2), scale=0.1)
    check_learner(learner, qs.Task(support, query))
    again = rebuild(describe(learner))
    again.load_state_dict(learner.state_dict())
    expected = learner.predict(learner.adapt(support), query.inputs)
    torch.testing.assert_close(again.predict(again.adapt(support), query.inputs), expected)
