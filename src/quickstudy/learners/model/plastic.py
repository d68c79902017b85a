"""Differentiable plasticity: connections that change as the support is shown, each as plastic as was learned.

Miconi et al. 2018, "Differentiable plasticity: training plastic neural networks with backpropagation", equations 1-3
and section 4.4:

    y = sigma((w + alpha Hebb) x),   Hebb' = (1 - eta) Hebb + eta x y  (or Oja's rule)

with x an embedding and y clamped to the label while the support is shown. In its neuromodulated form (Miconi et al.
2019, "Backpropamine"), the net decides itself when to learn: `nets.Neuromodulated`. Learned across tasks: the
embedding, w, alpha and the rule's parameters; a task is learned in Hebb. Departures: one plastic layer from
input to output, for pattern completion too, where the paper's net is recurrent with clamped neurons and settles for
three steps.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import unknown_name
from quickstudy.learners.bases.labelled import LabelledLearner
from quickstudy.nets.plastic import PlasticLinear, Trace, TraceRule
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class Traces(NamedTuple):
    """The state of one task."""

    trace: Trace
    """Hebb (D, outputs), and everything else that the rule keeps."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="model", learns="plasticity of connections", paper="Miconi et al. 2018", tasks="both")
class Plastic(LabelledLearner):
    """A plastic layer on an embedding; the order of the support matters.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        rule: `nets.Hebbian()`, `nets.Oja()` or `nets.Neuromodulated(features, outputs)`; None is the first.
        activation: of the outputs: 'linear' (logits), or 'tanh' for targets in [-1, 1].
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        rule: TraceRule | None = None,
        activation: Literal["linear", "tanh"] = "linear",
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(net, outputs, features, batch_norm)
        if activation not in ("linear", "tanh"):
            raise unknown_name("activation", activation, ("linear", "tanh"))
        self.activation = activation
        self.layer = PlasticLinear(self.size, outputs, rule)

    @property
    def permutation_invariant(self) -> bool:
        """Traces decay."""
        return False

    def adapt(self, support: Examples) -> Traces:
        """Show the rows one after the other."""
        rows = self.read(support)
        traces = self._traces(rows.features, rows.labels, rows.real)
        return Traces(traces[-1], rows.present, rows.statistics)

    def predict(self, state: Traces, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, outputs) for regression."""
        outputs = self.layer(self.embed(inputs, state.statistics), state.trace)
        return self.answer(self._activated(outputs), state.present)

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions, that for row t from the rows before it (see `batching.stream`)."""
        rows = self.read(sequence)
        traces = self._traces(rows.features, rows.labels, rows.real)[:-1]
        outputs = torch.cat([self.layer(x.unsqueeze(0), trace) for x, trace in zip(rows.features, traces, strict=True)])
        return self.answer(self._activated(outputs), self.seen_before(sequence))

    def _activated(self, outputs: Tensor) -> Tensor:
        return torch.tanh(outputs) if self.activation == "tanh" else outputs

    def _traces(self, features: Tensor, labels: Tensor, real: Tensor) -> list[Trace]:
        """Return the S + 1 traces before each row and after the last."""
        traces = [self.layer.start()]
        for x, y, counts in zip(features, labels, real, strict=True):
            new = self.layer.learn(traces[-1], x, y)
            traces.append(tuple(torch.where(counts, a, b) for a, b in zip(new, traces[-1], strict=True)))
        return traces
