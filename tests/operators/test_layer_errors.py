"""Layers that cannot work: named, with what to do instead, whatever PyTorch's text. A net's own errors stay."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils.checkpoint import checkpoint

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError, UnsupportedLayerError
from quickstudy.operators.calls import call


class Layer(nn.Module):
    """A function of rows (S, 4)."""

    def __init__(self, function: Callable[[Layer, Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.linear = function, nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def detour(layer: Layer, x: Tensor) -> Tensor:
    return x / torch.as_tensor(x.detach().numpy().std(0))


def packed(layer: Layer, x: Tensor) -> Tensor:
    lengths = (x > -9).sum(1)
    return nn.utils.rnn.pack_padded_sequence(x.unsqueeze(-1), lengths, True, False).data.reshape(x.shape)


def remembered(layer: Layer, x: Tensor) -> Tensor:
    layer.seen.copy_(x.mean(0))
    return x


class Old(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * g


class Unmapped(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * g


LAYERS: dict[str, tuple[Callable[[Layer, Tensor], Tensor], str]] = {
    "if": (lambda layer, x: x if x.sum() > 0 else -x, r"torch\.where"),
    "item": (lambda layer, x: x * x.mean().item(), r"torch\.where"),
    "float": (lambda layer, x: x * float(x.mean()), r"torch\.where"),
    "tolist": (lambda layer, x: x * x.mean(0).tolist()[0], r"torch\.where"),
    "range": (lambda layer, x: x * sum(range(int(x.abs().sum()))), r"torch\.where"),
    "numpy": (detour, "torch operators"),
    "unique": (lambda layer, x: x * x.unique().mean(), "mask"),
    "nonzero": (lambda layer, x: x * (x > 0).nonzero().sum(), "mask"),
    "boolean": (lambda layer, x: x * x[x > 0].mean(), "mask"),
    "masked_select": (lambda layer, x: x * x.masked_select(x > 0).mean(), "mask"),
    "packed": (packed, "[Pp]ad and mask"),
    "checkpoint": (lambda layer, x: checkpoint(layer.linear, x, use_reentrant=False), "checkpoint"),
    "checkpoint-reentrant": (lambda layer, x: checkpoint(layer.linear, x, use_reentrant=True), "checkpoint"),
    "buffer": (remembered, "freeze it"),
    "captured": (lambda layer, x: torch.zeros(3, 4).add_(x), "freeze it"),
    "function": (lambda layer, x: Old.apply(x), "setup_context"),
    "function-unmapped": (lambda layer, x: Unmapped.apply(x), "vmap"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_named_with_a_remedy(name: str) -> None:
    function, remedy = LAYERS[name]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), Layer(function)))
    tasks = torch.randn(2, 3, 4)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UnsupportedLayerError, match=rf"layer '1\.1(\.linear)?' \(\w+\).*{remedy}") as caught:
        vmap(lambda x: call(net, x)[0], randomness="different")(tasks)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("old", [True, False])
def test_spectral_norm_in_training(old: bool) -> None:
    wrap = nn.utils.spectral_norm if old else nn.utils.parametrizations.spectral_norm
    net = nn.Sequential(wrap(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 3))
    theta = {key: value.detach().expand(2, *value.shape) for key, value in net.named_parameters()}
    # In training each task makes the step of the power iteration from the net's own vectors, which stay.
    x, kept = torch.randn(2, 3, 4), {name: value.clone() for name, value in net.named_buffers()}
    found = vmap(lambda theta, x: call(net, x, theta)[0])(theta, x)
    for row, rows in zip(found, x, strict=True):
        torch.testing.assert_close(row, copy.deepcopy(net)(rows))
    assert all(torch.equal(value, kept[name]) for name, value in net.named_buffers())
    net.eval()
    found = vmap(lambda theta, x: call(net, x, theta)[0])(theta, torch.ones(2, 3, 4))
    torch.testing.assert_close(found[0], net(torch.ones(3, 4)))


OWN: dict[str, tuple[Callable[[Tensor], Tensor], type[Exception]]] = {
    "raise": (lambda x: _raise(ValueError("rows of another kind")), ValueError),
    "runtime": (lambda x: _raise(RuntimeError("rows of another kind")), RuntimeError),
    "assert": (lambda x: _assert(), AssertionError),
    "attribute": (lambda x: x.rows_of_another_kind, AttributeError),
    "key": (lambda x: {}["rows of another kind"], KeyError),
}


def _raise(error: Exception) -> Tensor:
    raise error


def _assert() -> Tensor:
    assert not torch.__version__, "rows of another kind"
    raise NotImplementedError


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("mapped", [True, False])
def test_errors_of_the_net_stay(name: str, mapped: bool) -> None:
    function, kind = OWN[name]
    net = Layer(lambda layer, x: function(x))
    with pytest.raises(kind, match=r"rows.of.another.kind") as caught:
        vmap(lambda x: call(net, x)[0])(torch.randn(2, 3, 4)) if mapped else call(net, torch.randn(3, 4))
    assert not isinstance(caught.value, qs.errors.QuickstudyError)


@pytest.mark.parametrize("mapped", [True, False])
def test_what_fails_plainly_too_is_of_the_inputs(mapped: bool) -> None:
    for function, words in (
        (lambda layer, x: torch.cat([x, x[:, :1]]), "Sizes of tensors must match"),
        (lambda layer, x: F.embedding(torch.full((len(x),), 9), layer.linear.weight), "index out of range"),
        (lambda layer, x: x[:, [7]], "out of bounds"),
        (lambda layer, x: sum(x.unbind(1) if len(x.shape) == 3 else _three(x)), "unpack"),
    ):
        net = nn.Sequential(nn.ReLU(), Layer(function))
        with pytest.raises(InputError, match=rf"layer '1' \(Layer\) says .*{words}"):
            vmap(lambda x, net=net: call(net, x)[0])(torch.randn(2, 3, 4)) if mapped else call(net, torch.randn(3, 4))


def _three(x: Tensor) -> tuple[Tensor, ...]:
    a, b, c = x.shape
    return a, b, c  # type: ignore[return-value]


def test_learners_refuse_alike() -> None:
    x, y = torch.randn(60, 4), torch.arange(60) % 12
    tasks = qs.tasks.FewShot(qs.datasets.arrays(x.numpy(), y.numpy()), ways=3, shots=1, queries=2)
    for name in ("if", "numpy", "checkpoint", "boolean"):
        for learner in (qs.learners.MAML, qs.learners.ProtoNet):
            net = nn.Sequential(Layer(LAYERS[name][0]), nn.Linear(4, 3))
            with pytest.raises(UnsupportedLayerError, match=r"layer '0(\.linear)?'"):
                qs.meta_train(learner(net), tasks, steps=1, meta_batch=2, progress=False)  # type: ignore[operator]


TOKENS: dict[str, Callable[[], nn.Module]] = {
    "embedding": lambda: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3)),
    "padding": lambda: nn.Sequential(nn.Embedding(5, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 3)),
    "sparse": lambda: nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Flatten(), nn.Linear(12, 3)),
    "max_norm": lambda: nn.Sequential(nn.Embedding(5, 4, max_norm=0.5), nn.Flatten(), nn.Linear(12, 3)),
    "bag": lambda: nn.Sequential(nn.EmbeddingBag(5, 4), nn.Linear(4, 3)),
    "bag-sparse": lambda: nn.Sequential(nn.EmbeddingBag(5, 4, mode="sum", sparse=True), nn.Linear(4, 3)),
}


@pytest.mark.parametrize("name", TOKENS)
def test_tables_give_dense_gradients_and_stay(name: str) -> None:
    torch.manual_seed(0)
    net, tokens = TOKENS[name](), torch.tensor([[[0, 1, 4], [2, 2, 0]], [[3, 0, 1], [1, 1, 1]]])
    theta = {key: value.detach().clone() for key, value in net.named_parameters()}
    before = net[0].weight.detach().clone()  # type: ignore[union-attr, operator]

    def loss(theta: dict[str, Tensor], x: Tensor) -> Tensor:
        return call(net, x, theta)[0].square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(theta, tokens)
    assert torch.equal(net[0].weight, before)
    for task, x in enumerate(tokens):
        net.zero_grad()
        net(x).square().sum().backward()
        for key, value in net.named_parameters():
            assert value.grad is not None
            torch.testing.assert_close(found[key][task], value.grad.to_dense())
        with torch.no_grad():
            net[0].weight.copy_(before)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("bad", [5, 9, -1])
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_beyond_the_table_are_named(name: str, bad: int) -> None:
    net, good = TOKENS[name](), torch.tensor([[0, 1, 4], [2, 3, 0]])
    wrong = good.clone()
    wrong[1, 1] = bad
    words = r"layer '0' \(Embedding(Bag)?\) says "
    with pytest.raises(InputError, match=words):
        call(net, wrong)
    with pytest.raises(InputError, match=words):
        vmap(lambda x: call(net, x)[0])(torch.stack([wrong, good]))
    # With tables of their own, tasks must not read from each other's.
    theta = {key: value.detach().expand(2, *value.shape) for key, value in net.named_parameters()}
    with pytest.raises(InputError, match=words):
        vmap(lambda theta, x: call(net, x, theta)[0])(theta, torch.stack([wrong, good]))


def test_tokens_of_queries_alone() -> None:
    support, query = torch.tensor([[0, 1, 4], [2, 3, 0], [1, 1, 1]]), torch.tensor([[0, 1, 7]])
    learner = qs.learners.MAML(TOKENS["embedding"]())
    state = learner.adapt(qs.Examples(support, torch.arange(3)))
    with pytest.raises(InputError, match=r"layer '0' \(Embedding\)"):
        learner.predict(state, query)


class Branching(qs.learners.ProtoNet):
    def __init__(self, way: str) -> None:
        super().__init__(nn.Linear(4, 3))
        self.way = way

    def adapt(self, support: qs.Examples) -> Any:
        state = super().adapt(support)
        total = support.inputs.sum()
        if self.way == "if" and total > 0:
            return state
        if self.way == "not" and not total:
            return state
        if self.way == "item" and total.item() > 0:
            return state
        if self.way == "own":
            raise RuntimeError("a mistake of its own")
        return state


@pytest.mark.parametrize("way", ["if", "not", "item"])
def test_learners_that_branch_on_values_are_shown_the_line(way: str) -> None:
    batch = batching.stack([qs.Examples(torch.randn(3, 4), torch.arange(3))] * 2)
    with pytest.raises(
        UnsupportedLayerError, match=rf'`if self.way == "{way}".*test_layer_errors.*adapt.*torch\.where'
    ):
        batching.adapt(Branching(way), batch)
    with pytest.raises(RuntimeError, match="a mistake of its own"):
        batching.adapt(Branching("own"), batch)


def test_modules_around_another_adapt_as_it_does() -> None:
    net, support = nn.Linear(4, 3), qs.Examples(torch.randn(6, 4), torch.arange(6) % 3)
    found, expected = (
        learner.predict(learner.adapt(support), support.inputs)
        for learner in (qs.learners.MAML(nn.DataParallel(net)), qs.learners.MAML(net))
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts_are_named() -> None:
    script = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)))
    with pytest.raises(
        UnsupportedLayerError, match=r"layer 'net' \(RecursiveScriptModule\).*before torch\.jit\.script"
    ):
        qs.learners.MAML(script).adapt(qs.Examples(torch.randn(6, 4), torch.arange(6) % 3))


@pytest.mark.parametrize("learner", [qs.learners.MAML, qs.learners.ProtoNet, lambda net: qs.learners.FineTune(net, 5)])
def test_lazy_layers_must_have_seen_inputs(learner: Callable[[nn.Module], qs.Learner]) -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3))
    net.features = 3  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"layer '0' \(LazyLinear\) has no parameters yet; run the net once"):
        learner(net)
    net(torch.zeros(1, 4))
    learner(net)


class Adjacent(nn.Module):
    """Multiplies with a sparse matrix, whose gradient cannot be batched."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sparse.mm(torch.eye(len(x)).to_sparse(), self.linear(x))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_errors_of_backward_passes_are_said_as_far_as_known() -> None:
    x, y = torch.randn(60, 4), torch.arange(60) % 12
    tasks = qs.tasks.FewShot(qs.datasets.arrays(x.numpy(), y.numpy()), ways=3, shots=1, queries=2)
    with pytest.raises(UnsupportedLayerError, match=r"Sparse.*backward pass.*first-order"):
        qs.meta_train(qs.learners.MAML(Adjacent()), tasks, steps=1, meta_batch=2, progress=False, compile=False)
