"""Hyper-parameters by hyper-gradient: rates and strengths of regularisation, chosen by the loss on other rows.

Maclaurin, Duvenaud & Adams 2015, "Gradient-based Hyperparameter Optimization through Reversible Learning"; Franceschi
et al. 2018, "Bilevel Programming for Hyperparameter Optimization and Meta-Learning", equations 1 to 4; implicitly
Lorraine, Vicol & Duvenaud 2020, "Optimizing Millions of Hyperparameters by Implicit Differentiation":

    theta_t+1 = theta_t - exp(r_l) grad [L(theta; support) + sum_l exp(d_l)/2 |W_l|^2 + sum_l exp(s_l) |W_l|_1]
    r, d, s   = argmin L(theta_T; query)

Learned across tasks: for each layer l the logarithms of its learning rate r_l, weight decay d_l and, where asked for,
strength s_l of the L1 penalty; or a strength for each input of a layer, or for each weight. The start theta_0 is not
learned. With `tasks.OneTask`, the query is the validation set of one problem. How the gradient passes is the outer
optimiser's choice: `outer.Gradient` through whole runs (Unrolled), `outer.Gradient(through=Implicit("neumann"))` at
their end, which says nothing of rates, and `outer.Truncated` online, along runs that go on from one outer step to the
next.
Departures: weights alone are penalised, not biases or scales of norms; the rule is gradient descent without momentum.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError, unknown_name
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.inner.losses import TaskLoss
from quickstudy.inner.starts import FixedStart
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.registry import register
from quickstudy.rules import Rule
from quickstudy.rules.base import Theta

Strengths = Literal["layer", "input", "weight"]
STRENGTHS = ("layer", "input", "weight")


class LayerRates(Rule):
    """Gradient descent with a learned rate for each layer, theta_l <- theta_l - exp(log_lr_l) g_l.

    Args:
        layers: the layer of each adapted tensor, by name: 0, 1, ...
        lr: where all rates begin.
    """

    def __init__(self, layers: dict[str, int], lr: float) -> None:
        super().__init__()
        self.layers = layers
        self.log_lr = nn.Parameter(torch.full((max(layers.values()) + 1,), math.log(lr)))

    def update(self, grads: Theta, state: object, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, object]:
        """Return the moved theta."""
        rates = self.log_lr.exp()
        return {name: theta[name] - rates[layer] * grads[name] for name, layer in self.layers.items()}, state


class Penalised(TaskLoss):
    """The task's loss, and what large weights cost."""

    def value(self, learner: HyperParameters, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the loss on the rows and the penalties."""
        return super().value(learner, theta, rows, classes) + learner.penalty(theta)


@register(
    "learner", family="optimisation", learns="rates and regularisation", paper="Lorraine et al. 2020", tasks="both"
)
class HyperParameters(GradientLearner):
    """Training of a net by gradient descent, whose hyper-parameters are learned.

    Freeze the hyper-parameters that shall stay as they are: `learner.rule.log_lr.requires_grad_(False)`. Freeze rates
    with implicit gradients, in which they have no part, and online, where short segments may judge them wrongly.

    Args:
        net: any module, copied; training starts from its parameters as they are now. Frozen ones stay as they are.
        lr: learning rate with which each layer begins.
        weight_decay: strength of half the squared norm of weights with which each layer begins.
        l1: strength of the sum of absolute weights with which each layer begins; None for no such penalty.
        strengths: which weights share a strength of each penalty: those of a 'layer', those of an 'input' of a layer
            (the second dimension of its weights: features, channels), or none ('weight').
        steps: training steps.
        batch: rows a step, in random order; None for all rows.
        test_steps: training steps in evaluation mode; None for the same.
        batch_norm: 'support', 'transductive' or 'frozen'.
        differentiation: how the gradient passes where the outer optimiser does not say; None for `Unrolled()`.

    Raises:
        InputError: an argument is out of range, or the net has nothing to train.
    """

    rule: LayerRates

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.1,
        weight_decay: float = 1e-3,
        l1: float | None = None,
        strengths: Strengths = "layer",
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
        differentiation: Differentiation | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("l1", l1)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, for its logarithm is learned, not {value}")
        if strengths not in STRENGTHS:
            raise unknown_name("strengths", strengths, STRENGTHS)
        adapted = FixedStart(net)
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in adapted.names()))
        numbers = {name: layers.index(name.rpartition(".")[0]) for name in adapted.names()}
        passing = Unrolled() if differentiation is None else differentiation
        rule = LayerRates(numbers, lr)
        super().__init__(adapted, rule, passing, steps, test_steps, batch_norm, batch, loss=Penalised())
        self.layers, self.strengths = tuple(layers), strengths
        shapes = {name: value.shape for name, value in adapted.net.named_parameters()}
        self._groups = _groups({name: shapes[name] for name in adapted.names()}, numbers, strengths)
        count = max([part.stop for part, _ in self._groups.values()], default=0)
        count = len(layers) if strengths == "layer" else count
        self.log_weight_decay = nn.Parameter(torch.full((count,), math.log(weight_decay)))
        self.log_l1 = None if l1 is None else nn.Parameter(torch.full((count,), math.log(l1)))

    def penalty(self, theta: Theta) -> Tensor:
        """Return what large weights cost."""
        decay, l1 = self.log_weight_decay.exp(), None if self.log_l1 is None else self.log_l1.exp()
        # A sum that begins with the decays' own zero, for nets whose tensors are all vectors.
        total = 0 * decay.sum()
        for name, (part, shape) in self._groups.items():
            total = total + (decay[part].reshape(shape) / 2 * theta[name].square()).sum()
            if l1 is not None:
                total = total + (l1[part].reshape(shape) * theta[name].abs()).sum()
        return total

    def values(self) -> dict[str, dict[str, Any]]:
        """Return the hyper-parameters: 'lr' by the name of the layer, 'weight_decay' and 'l1' likewise.

        Strengths of inputs or weights are lists, by the name of the weights: (inputs,), or as the weights are shaped.
        """
        rates = self.rule.log_lr.detach().exp().tolist()
        found: dict[str, dict[str, Any]] = {"lr": dict(zip(self.layers, rates, strict=True))}
        for kind, log in (("weight_decay", self.log_weight_decay), ("l1", self.log_l1)):
            if log is None:
                continue
            values = log.detach().exp()
            if self.strengths == "layer":
                found[kind] = dict(zip(self.layers, values.tolist(), strict=True))
            else:
                parts = {name: values[part] for name, (part, _) in self._groups.items()}
                if self.strengths == "weight":
                    parts = {name: part.reshape(self._groups[name][1]) for name, part in parts.items()}
                found[kind] = {name: part.tolist() for name, part in parts.items()}
        return found


def _groups(
    shapes: dict[str, torch.Size], layers: dict[str, int], strengths: Strengths
) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Return for each weight which of all strengths are its own, and the shape in which they fit it."""
    found, at = {}, 0
    for name, shape in shapes.items():
        if len(shape) < 2:
            continue
        fitting = tuple(shape)
        if strengths != "weight":
            fitting = tuple(size if number == 1 and strengths == "input" else 1 for number, size in enumerate(shape))
        start = layers[name] if strengths == "layer" else at
        at = start + math.prod(fitting)
        found[name] = (slice(start, at), fitting)
    return found
