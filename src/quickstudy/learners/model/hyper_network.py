"""Hypernetwork learner: the support, read by one net, becomes the weights of another.

Ha et al. 2016, "HyperNetworks", section 3; Bertinetto et al. 2016, "Learning feed-forward one-shot learners", sections
2-3:

    s = mean_i h(f(x_i), y_i),   theta = theta_0 + H(s),   prediction = model_theta(f(x))

and with a low rank R each matrix of weights is W = W_0 + A(s) B(s), with A (out, R) and B (R, in), where Bertinetto et
al. generate the diagonal between two learned projections. Learned across tasks: f, h, H and theta_0. Departures: the
whole support is read, by a mean; Bertinetto et al. read one example. The weights of output k come from s and
s_k = outputs mean_i y_ik h(f(x_i), y_i), through one map for all k, since classes are interchangeable. The generated
part is scaled by the root of the fan-in, so that it starts as large as ordinary weights do (Chang et al. 2020).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.inner.adapted import last_layer
from quickstudy.learners.bases.labelled import LabelledLearner
from quickstudy.learners.bases.neural_process import masked_row_mean, perceptron
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Generated(NamedTuple):
    """The state of one task."""

    weights: dict[str, Tensor]
    """Parameters of the model, by name."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


class Generator(nn.Module):
    """Maps a summary to what is added to one parameter: all of it, or two factors of a matrix.

    Args:
        width: of the summaries.
        shape: of the parameter.
        rank: of a matrix; None, or one too large to save anything, makes it whole.
        by_row: row k comes from the summary of output k rather than from that of the support.
    """

    def __init__(self, width: int, shape: tuple[int, ...], rank: int | None, by_row: bool) -> None:
        super().__init__()
        rows, columns = shape[0], math.prod(shape[1:])
        self.shape, self.by_row = shape, by_row
        self.scale = 1 / math.sqrt(columns)
        self.rank = rank if rank is not None and rank * (rows + columns) < rows * columns else None
        made = columns if self.rank is None else self.rank
        self.left = nn.Linear(width, made if by_row else rows * made)
        self.right = None if self.rank is None else nn.Linear(width, self.rank * columns)

    def forward(self, summary: Tensor, of_outputs: Tensor) -> Tensor:
        """Return what is added, in the parameter's shape, for summaries (width,) and (outputs, width)."""
        made: Tensor = self.left(of_outputs if self.by_row else summary)
        if self.right is None or self.rank is None:
            return self.scale * made.reshape(self.shape)
        right: Tensor = self.right(summary)
        product = made.reshape(self.shape[0], self.rank) @ right.reshape(self.rank, -1)
        return (self.scale / math.sqrt(self.rank)) * product.reshape(self.shape)


@register("learner", family="model", learns="a generator of weights", paper="Ha et al. 2016", tasks="both")
class HyperNetwork(LabelledLearner):
    """Generates the weights of a task's model from its support.

    Args:
        net: embedding module, shared by both nets; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        model: the task's model, from features (rows, D) to (rows, outputs); None is one linear layer.
        width: of the support's reader and summary.
        rank: R of the generated matrices; None generates them whole.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: a rank or width that is not positive, or a model that is not made for these features and outputs.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        model: nn.Module | None = None,
        width: int = 128,
        rank: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if width < 1 or (rank is not None and rank < 1):
            raise InputError(f"{width=} and {rank=} must be positive")
        self.model = nn.Linear(self.size, outputs) if model is None else model
        self.reader = perceptron(self.size + outputs, width, width)
        self.summary = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.summary_of_output = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU())
        named = dict(self.model.named_parameters())
        self.names, last = list(named), last_layer(self.model)
        self.generators = nn.ModuleList(
            Generator(width, tuple(value.shape), rank, by_row=name.rpartition(".")[0] == last and len(value) == outputs)
            for name, value in named.items()
        )

    def adapt(self, support: Examples) -> Generated:
        """Read the support; generate the model's weights."""
        rows = self.read(support)
        read = self.reader(torch.cat([rows.features, rows.labels], 1))
        mean = masked_row_mean(read, rows.real)
        # Labels are zero in padding rows.
        of_outputs = self.outputs * rows.labels.mT @ read / rows.real.sum().clamp_min(1)
        pairs = torch.cat([of_outputs, mean.expand(self.outputs, -1)], 1)
        summary, summaries = self.summary(mean), self.summary_of_output(pairs)
        start = dict(self.model.named_parameters())
        made = {
            name: start[name] + make(summary, summaries) for name, make in zip(self.names, self.generators, strict=True)
        }
        return Generated(made, rows.present, rows.statistics)

    def predict(self, state: Generated, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression."""
        outputs, _ = answer(self.model, self.embed(inputs, state.statistics), state.weights)
        if outputs.ndim != 2 or outputs.shape[1] != self.outputs:
            raise InputError(f"the model gives {tuple(outputs.shape[1:])} a row, not {self.outputs} outputs")
        return self.answer(outputs, state.present)
