"""Meta networks: fast weights made of loss gradients.

Munkhdalai & Yu 2017, "Meta Networks", section 3 and algorithm 1:

    Q* = d(grad_Q L_rep(u_Q(x_i), y_i) for all i)              fast weights of the representation u, of the whole task
    W*_i = m(grad_W L_task(b_W(x_i), y_i)),  r_i = u_{Q,Q*}(x_i)   memory: fast weights of the base learner b, by key
    W*(x) = sum_i softmax_i(cosine(u_{Q,Q*}(x), r_i)) W*_i,    p(y | x) = softmax(b_{W,W*(x)}(x))

Slow and fast weights meet by layer augmentation, relu(W h) + relu(W* h); the last layer adds the two without relu.
Learned across tasks: the slow weights W and Q, and the makers of fast ones: m, a perceptron, and d, an LSTM over the
support, both of one coordinate at a time. Meta-gradients pass through the gradients.

Departures: an embedding net shared by b and u has slow weights only, so that b has two layers and u one. A gradient g
enters as (asinh(e^7 g) / 7, g), a smooth form of the paper's (log |g|, sign g). All support rows give Q*, not a sample.
A learned scale, from 10, multiplies the cosines.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import hidden
from quickstudy.functional.distances import cosine, unit
from quickstudy.learners.bases.labelled import LabelledLearner, Rows
from quickstudy.learners.bases.neural_process import perceptron
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.operators.recurrent import lstm_cell
from quickstudy.registry import register

Weights = tuple[Tensor, ...]
"""Matrices and biases of layers in turn, each shared by all rows or with a leading dimension, one for each row."""


class Memory(NamedTuple):
    """The state of one task."""

    keys: Tensor
    """(S, width) representations r_i."""
    values: Weights
    """Fast weights W*_i, each (S, ...)."""
    representation: Weights
    """Fast weights Q*."""
    real: Tensor
    """(S,) False in padding rows."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


def augmented(x: Tensor, slow: Weights, fast: Weights | None = None, last_linear: bool = True) -> Tensor:
    """Return (R, outputs) of layers with slow and fast weights side by side, for x (R, D)."""
    for i in range(0, len(slow), 2):
        linear = last_linear and i == len(slow) - 2
        paths = [slow] if fast is None else [slow, fast]
        found = [(path[i] @ x.unsqueeze(-1)).squeeze(-1) + path[i + 1] for path in paths]
        x = sum((each if linear else F.relu(each) for each in found), torch.zeros(()).to(x))
    return x


def preprocessed(gradient: Tensor) -> Tensor:
    """Return (..., 2) features of gradients (...) of any magnitude."""
    return torch.stack([torch.asinh(math.exp(7) * gradient) / 7, gradient], -1)


@register("learner", family="model", learns="how to make fast weights", paper="Munkhdalai & Yu 2017", tasks="both")
class MetaNet(LabelledLearner):
    """A memory of fast weights, one set for each support row, made from its loss gradient.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        width: of the base learner's hidden layer and of the representation.
        hidden: width of the nets that make fast weights.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: a width is not positive.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        width: int = 64,
        hidden: int = 20,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if width < 1 or hidden < 1:
            raise InputError(f"{width=} and {hidden=} must be positive")
        self.base = perceptron(self.size, width, outputs)
        self.representation = nn.Linear(self.size, width)
        self.representation_head = nn.Linear(width, outputs)
        self.maker = perceptron(2, hidden, hidden, 1)
        self.reader = nn.LSTMCell(2, hidden)
        self.reader_head = nn.Linear(hidden, 1)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    @property
    def permutation_invariant(self) -> bool:
        """The LSTM d reads gradients in order."""
        return False

    def adapt(self, support: Examples) -> Memory:
        """Make fast weights of the representation, then a memory of fast weights of the base learner."""
        rows = self.read(support)
        representation, values = self._fast_weights(rows, support)
        last = tuple(each[-1] for each in representation)
        keys = augmented(rows.features, tuple(self.representation.parameters()), last, last_linear=False)
        return Memory(keys, values, last, rows.real, rows.present, rows.statistics)

    def predict(self, state: Memory, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression."""
        features = self.embed(inputs, state.statistics)
        asked = augmented(features, tuple(self.representation.parameters()), state.representation, last_linear=False)
        outputs = self._recall(features, cosine(asked, state.keys), state.values, state.real)
        return self.answer(outputs, state.present)

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions, that for row t from the rows before it (see `batching.stream`)."""
        rows = self.read(sequence)
        representation, values = self._fast_weights(rows, sequence)
        # Every row is represented anew as Q* changes: (L, L, width), by the rows seen and the row represented.
        matrix, bias = (each[:-1] for each in representation)
        fast = torch.einsum("tod,id->tio", matrix, rows.features) + bias.unsqueeze(1)
        keys = unit(F.relu(self.representation(rows.features)) + F.relu(fast))
        similarity = torch.einsum("tio,to->ti", keys, keys.diagonal(dim1=0, dim2=1).mT)
        before = rows.real.expand(len(rows.real), -1).tril(-1)
        outputs = self._recall(rows.features, similarity, values, before)
        return self.answer(outputs, self.seen_before(sequence))

    def _recall(self, features: Tensor, similarity: Tensor, values: Weights, visible: Tensor) -> Tensor:
        """Return outputs for features (R, D) with the fast weights recalled by similarity (R, S)."""
        scores = hidden(self.log_scale.exp() * similarity, visible)
        attention = torch.where(visible, torch.softmax(scores, 1), 0.0)
        fast = tuple(torch.einsum("qs,s...->q...", attention, each) for each in values)
        return augmented(features, tuple(self.base.parameters()), fast)

    def _fast_weights(self, rows: Rows, support: Examples) -> tuple[Weights, Weights]:
        """Return Q* before each row and after the last, each (S + 1, ...), and W* of each row, each (S, ...)."""
        base, slow = tuple(self.base.parameters()), tuple(self.representation.parameters())
        head = tuple(self.representation_head.parameters())

        def represented(own: Weights) -> Tensor:
            return augmented(augmented(rows.features, own, last_linear=False), head)

        gradients = self._row_gradients(represented, slow, rows, support)
        representation = tuple(self._read_gradients(each, rows.real) for each in gradients)
        gradients = self._row_gradients(lambda own: augmented(rows.features, own), base, rows, support)
        return representation, tuple(self.maker(preprocessed(each)).squeeze(-1) for each in gradients)

    def _row_gradients(self, outputs: Any, slow: Weights, rows: Rows, support: Examples) -> Weights:
        """Return the gradient of each row's own loss with respect to slow weights, each (S, ...)."""

        def total(own: Weights) -> Tensor:
            found = outputs(own)
            if support.ways is None:
                losses = (found - rows.labels).square().mean(1)
            else:
                # Outputs for classes that the task lacks get no label, and so only push each other down.
                losses = -(rows.labels * torch.log_softmax(found, 1)).sum(1)
            return torch.where(rows.real, losses, 0.0).sum()

        # A copy of the weights for each row makes the gradient of the sum one gradient for each row.
        copies = tuple(each.expand(len(rows.features), *each.shape) for each in slow)
        found: Weights = grad(total)(copies)
        return found

    def _read_gradients(self, gradients: Tensor, real: Tensor) -> Tensor:
        """Return d's fast weights (S + 1, ...) before each and after the last of gradients (S, ...)."""
        inputs = preprocessed(gradients).flatten(1, -2)
        cell = self.reader
        h = c = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
        states = [h]
        for t in range(len(inputs)):
            new = lstm_cell(inputs[t], (h, c), cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
            h, c = (torch.where(real[t], after, before) for after, before in zip(new, (h, c), strict=True))
            states.append(h)
        weights: Tensor = self.reader_head(torch.stack(states))
        return weights.reshape(len(states), *gradients.shape[1:])
