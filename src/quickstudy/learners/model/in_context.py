"""In-context learning: a transformer that reads support and query and answers in one pass.

Müller et al. 2022, "Transformers Can Do Bayesian Inference", section 3; Kirsch et al. 2022, "General-Purpose In-Context
Learning by Meta-Learning Transformers", section 2:

    support token_i = A f(x_i) + E y_i,   query token = A f(x) + q
    support tokens attend to support tokens, queries to support tokens alone, in every layer
    output = E (B token) / sqrt(width)

Learned across tasks: everything; nothing has a position, so the order of the support does not matter, and no query sees
another. `adapt` is the pass over the support, whose keys and values are the state; `predict` is the pass of the
queries. Departures: one table E both writes labels and reads answers; a query does not attend to itself (its skip
connection carries it); the maps to queries and to keys begin equal; regression predicts a mean rather than Müller's
histogram.

`CausalInContext` lets each support row attend only to itself and those before it, as language models do, so that it
answers all along a stream in one pass.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.classes import ways_of
from quickstudy.learners.bases.labelled import LabelledLearner, Rows
from quickstudy.nets.transformer import Context, TransformerBlock
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Cache(NamedTuple):
    """The state of one task."""

    contexts: tuple[Context, ...]
    """Keys and values of the support in each layer."""
    table: Tensor
    """(N, width) tokens of the labels."""
    real: Tensor
    """(S,) False in padding rows."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="model", learns="a learning algorithm", paper="Müller et al. 2022", tasks="both")
class InContext(LabelledLearner):
    """A transformer over the rows of support and query.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        width: numbers of a token.
        depth: layers.
        heads: of the attention; must divide the width.
        labels: 'learned' tokens for labels, or 'random' ones drawn for each task through a key: these fit any number
            of ways, and only for classification.
        batch_norm: 'support' or 'transductive'.
    """

    causal = False

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        labels: Literal["learned", "random"] = "learned",
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if labels not in ("learned", "random"):
            raise unknown_name("kind of labels", labels, ("learned", "random"))
        if depth < 1:
            raise InputError(f"depth must be at least 1, not {depth}")
        self.width, self.labels = width, labels
        self.tokens = nn.Linear(self.size, width)
        self.question = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        if labels == "learned":
            # Not so large that features would be lost beside it.
            self.table = nn.Parameter(0.3 * torch.randn(outputs, width))

    @property
    def stochastic(self) -> bool:
        """Whether label tokens are drawn."""
        return self.labels == "random"

    @property
    def permutation_invariant(self) -> bool:
        """Whether support rows see each other whatever their order."""
        return not self.causal

    def adapt(self, support: Examples, key: Tensor | None = None) -> Cache:
        """Pass over the support; keep what queries will attend to."""
        if self.labels == "learned":
            return self._cache(self.read(support), self.table)
        if key is None:
            raise InputError("label tokens are drawn through a key: adapt(support, functional.random.key(0))")
        rows = self.read(support, ways_of(support))
        return self._cache(rows, random.normal(key, rows.labels.shape[1], self.width, dtype=rows.features.dtype))

    def _cache(self, rows: Rows, table: Tensor) -> Cache:
        tokens = self.tokens(rows.features) + rows.labels @ table
        visible = rows.real.expand(len(tokens), -1)
        if self.causal:
            visible = visible.tril()
        contexts = []
        for i, block in enumerate(self.blocks):
            contexts.append(block.context(tokens))  # type: ignore[operator]
            # The tokens of the last layer are for nobody.
            tokens = block(tokens, contexts[-1], visible) if i < len(self.blocks) - 1 else tokens
        return Cache(tuple(contexts), table, rows.real, rows.present, rows.statistics)

    def predict(self, state: Cache, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression."""
        outputs = self._ask(self.embed(inputs, state.statistics), state, state.real)
        return self.answer(outputs, state.present)

    def _ask(self, features: Tensor, state: Cache, visible: Tensor) -> Tensor:
        tokens = self.tokens(features) + self.question
        for block, context in zip(self.blocks, state.contexts, strict=True):
            tokens = block(tokens, context, visible)
        return self.head(tokens) @ state.table.mT / math.sqrt(self.width)  # type: ignore[no-any-return]


@register("learner", family="model", learns="a learning algorithm", paper="Kirsch et al. 2022", tasks="both")
class CausalInContext(InContext):
    """A transformer whose support rows attend to earlier ones only, and which answers along a stream in one pass.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        width: numbers of a token.
        depth: layers.
        heads: of the attention; must divide the width.
        batch_norm: 'support' or 'transductive'.
    """

    causal = True

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, width, depth, heads, "learned", batch_norm)

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions, that for row t from the rows before it (see `batching.stream`)."""
        rows = self.read(sequence)
        before = rows.real.expand(len(rows.real), -1).tril(-1)
        outputs = self._ask(rows.features, self._cache(rows, self.table), before)
        return self.answer(outputs, self.seen_before(sequence))
