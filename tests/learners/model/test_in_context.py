"""The in-context learner against plain loops, torch's own transformer, and the ridge posterior mean."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.attention import attend
from quickstudy.learners import CausalInContext, InContext, Ridge
from quickstudy.nets import TransformerBlock
from quickstudy.testing.specimens import classification_task
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")


def build(make: type[InContext] = InContext, **options: object) -> InContext:
    return make(qs.nets.mlp(4, (6, 5)), 3, width=8, depth=2, heads=2, **options)  # type: ignore[arg-type]


def by_rows(learner: InContext, support: Examples, x: Tensor, allowed: Callable[[int, int], bool]) -> Tensor:
    """Return the answer for ONE query, token by token and head by head; `allowed(i, j)`: support row i sees row j."""
    features = learner.net(support.inputs)
    rows = [i for i in range(len(support)) if support.mask is None or support.mask[i]]
    tokens = {i: learner.tokens(features[i]) + learner.table[support.labels[i]] for i in rows}
    query = learner.tokens(learner.net(x[None])[0]) + learner.question
    for block in learner.blocks:
        normed = {i: block.before_attention(token) for i, token in tokens.items()}

        def update(token: Tensor, seen: list[int], block: nn.Module = block, normed: dict = normed) -> Tensor:  # type: ignore[type-arg]
            asked, heads = block.to_queries(block.before_attention(token)), []
            size = len(token) // block.heads
            for h in range(block.heads):
                part = slice(h * size, (h + 1) * size)
                both = [block.to_context(normed[j]).chunk(2) for j in seen]
                scores = torch.stack([(asked[part] * key[part]).sum() / math.sqrt(size) for key, _ in both])
                heads.append(sum(w * value[part] for w, (_, value) in zip(scores.softmax(0), both, strict=True)))
            token = token + block.join(torch.cat(heads))
            return token + block.down(nn.functional.gelu(block.up(block.before_perceptron(token))))

        query = update(query, rows)
        tokens = {i: update(token, [j for j in rows if allowed(i, j)]) for i, token in tokens.items()}
    return learner.table @ learner.head(query) / math.sqrt(len(query))


@pytest.mark.parametrize(
    ("make", "allowed"),
    [(InContext, lambda i, j: True), (CausalInContext, lambda i, j: j <= i)],
    ids=["InContext", "CausalInContext"],
)
def test_by_rows(make: type[InContext], allowed: Callable[[int, int], bool]) -> None:
    learner, task = build(make), batching.to_dtype(masked_task(), torch.float64)
    found = learner.predict(learner.adapt(task.support), task.query.inputs)
    for q, x in enumerate(task.query.inputs):
        torch.testing.assert_close(found[q], by_rows(learner, task.support, x, allowed))


def test_block_is_torchs_encoder_layer() -> None:
    block = TransformerBlock(8, heads=2)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
    attention = theirs.self_attn
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([block.to_queries.weight, block.to_context.weight]))
        attention.in_proj_bias.copy_(torch.cat([block.to_queries.bias, block.to_context.bias]))
        pairs = [(attention.out_proj, block.join), (theirs.linear1, block.up), (theirs.linear2, block.down)]
        for theirs_layer, ours in [
            *pairs,
            (theirs.norm1, block.before_attention),
            (theirs.norm2, block.before_perceptron),
        ]:
            theirs_layer.load_state_dict(ours.state_dict())
    x, mask = torch.randn(5, 8), torch.tensor([True, True, False, True, True])
    found = block(x, block.context(x), mask)
    torch.testing.assert_close(found, theirs(x[None], src_key_padding_mask=~mask[None])[0])


def test_second_derivatives_of_attention_under_vmap() -> None:
    def value(x: Tensor) -> Tensor:
        return attend(x, 2 * x, x.square(), torch.tensor([True, False, True])).sin().sum()

    def curvature(x: Tensor, way: Tensor) -> Tensor:
        return (grad(lambda x: (grad(value)(x) * way).sum())(x) * way).sum()

    x, way = torch.randn(4, 3, 2), torch.randn(4, 3, 2)
    together = vmap(curvature)(x, way)
    for i in range(4):
        slopes = [(grad(value)(x[i] + step * way[i]) * way[i]).sum() for step in (1e-5, -1e-5)]
        torch.testing.assert_close(together[i], (slopes[0] - slopes[1]) / 2e-5, rtol=1e-6, atol=1e-7)


def test_what_sees_nothing_reads_zero() -> None:
    read = attend(torch.randn(2, 3), torch.randn(4, 3), torch.randn(4, 5), torch.zeros(2, 4, dtype=torch.bool))
    assert read.tolist() == torch.zeros(2, 5).tolist()


def test_stream_is_adapting_to_every_beginning() -> None:
    learner, sequence = build(CausalInContext), batching.to_dtype(masked_task(), torch.float64).support
    found = learner.stream(sequence)  # type: ignore[attr-defined]
    for t in range(len(sequence)):
        mask = sequence.mask & (torch.arange(len(sequence)) < t)
        before = Examples(sequence.inputs, sequence.labels, mask, sequence.ways)
        alone = learner.predict(learner.adapt(before), sequence.inputs[t : t + 1])[0]
        torch.testing.assert_close(found[t], alone)


def test_random_tokens_fit_any_ways_and_are_drawn_by_the_key() -> None:
    learner = build(labels="random")
    labels = torch.arange(40)
    support = Examples(torch.randn(40, 4), labels)
    first, second = (learner.predict(learner.adapt(support, random.key(k)), support.inputs) for k in (1, 2))
    assert first.shape == (40, 40)
    assert not torch.allclose(first, second)
    with pytest.raises(InputError, match="key"):
        learner.adapt(support)
    with pytest.raises(InputError, match="classifies"):
        learner.adapt(Examples(torch.randn(4, 4), torch.randn(4)), random.key(0))


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="outputs=4"):
        build().adapt(Examples(torch.randn(4, 4), [0, 1, 2, 3]))
    with pytest.raises(InputError, match="features"):
        InContext(nn.Flatten(), 3)
    with pytest.raises(InputError, match="pass features"):
        InContext(None, 3, features=7, width=8).adapt(classification_task().support)
    with pytest.raises(InputError, match="divide"):
        InContext(None, 3, features=4, width=8, heads=3)
    with pytest.raises(InputError, match="learned"):
        InContext(None, 3, features=4, labels="learnt")  # type: ignore[arg-type]


@pytest.mark.slow
def test_approaches_the_ridge_posterior_mean() -> None:
    torch.set_default_dtype(torch.float32)
    recipe = qs.registry.lookup("recipe", "linear-incontext").build(steps=1500, compile=False)
    learner = recipe.train(None, progress=False).learner
    for shots in (4, 8, 16):
        bank = qs.tasks.LinearRegression(recipe.dimensions, shots, 16, recipe.noise).bank(1000)
        best = qs.evaluate(Ridge(recipe.dimensions * recipe.noise**2), bank).mean
        assert qs.evaluate(learner, bank).mean < 1.15 * best + 0.01
        assert qs.evaluate(Ridge(1e-3), bank).mean > best
