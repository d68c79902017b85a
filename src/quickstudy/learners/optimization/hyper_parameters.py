"""Hyper-parameters by hyper-gradient: rates and strengths of regularisation, chosen by the loss on other rows.

Maclaurin, Duvenaud & Adams 2015, "Gradient-based Hyperparameter Optimization through Reversible Learning"; Franceschi
et al. 2018, "Bilevel Programming for Hyperparameter Optimization and Meta-Learning", equations 1 to 4; implicitly
Lorraine, Vicol & Duvenaud 2020, "Optimizing Millions of Hyperparameters by Implicit Differentiation":

    theta_t+1 = theta_t - exp(r_l) grad [L(theta; support) + sum_l exp(d_l)/2 |W_l|^2 + sum_l exp(s_l) |W_l|_1]
    r, d, s   = argmin L(theta_T; query)

Learned across tasks: for each layer l the logarithms of its learning rate r_l, weight decay d_l and, where asked for,
strength s_l of the L1 penalty. The start theta_0 is not learned. With `tasks.OneTask`, the query is the validation set
of one problem. How the gradient passes is the outer optimiser's choice: `outer.Gradient` through whole runs (Unrolled),
`outer.Gradient(through=Implicit("neumann"))` at their end, which says nothing of rates, and `outer.Truncated` online,
along runs that go on from one outer step to the next.
Departures: weights alone are penalised, not biases or scales of norms; the rule is gradient descent without momentum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.calls import BatchNormPolicy
from quickstudy.functional.differentiation import Differentiation, Unrolled
from quickstudy.learners.optimization.inner_loop import GradientLearner
from quickstudy.learners.optimization.starts import FixedStart
from quickstudy.registry import register
from quickstudy.rules import Rule
from quickstudy.rules.base import Theta


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


@register(
    "learner", family="optimisation", learns="rates and regularisation", paper="Lorraine et al. 2020", tasks="both"
)
class HyperParameters(GradientLearner):
    """Training of a net by gradient descent, whose hyper-parameters are learned.

    What is to stay as it is, is frozen: `learner.rule.log_lr.requires_grad_(False)`. So rates should be with implicit
    gradients, in which they have no part; and online, where short segments may judge them wrongly.

    Args:
        net: any module, copied; training starts from its parameters as they are now. Frozen ones stay as they are.
        lr: learning rate with which each layer begins.
        weight_decay: strength of half the squared norm of weights with which each layer begins.
        l1: strength of the sum of absolute weights with which each layer begins; None for no such penalty.
        steps: training steps.
        batch: rows a step, in random order; None for all rows.
        test_steps: training steps in evaluation mode; None for the same.
        batch_norm: 'support', 'transductive' or 'frozen'.
        differentiation: how the gradient passes where the outer optimiser does not say; None for `Unrolled()`.

    Raises:
        InputError: a rate or strength is not positive, or the net has nothing to train.
    """

    rule: LayerRates

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.1,
        weight_decay: float = 1e-3,
        l1: float | None = None,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
        differentiation: Differentiation | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("l1", l1)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, for its logarithm is learned, not {value}")
        adapted = FixedStart(net)
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in adapted.names()))
        numbers = {name: layers.index(name.rpartition(".")[0]) for name in adapted.names()}
        passing = Unrolled() if differentiation is None else differentiation
        super().__init__(adapted, LayerRates(numbers, lr), passing, steps, test_steps, batch_norm, batch)
        self.layers = tuple(layers)
        shapes = {name: value.ndim for name, value in adapted.net.named_parameters()}
        self._weights = tuple(name for name in adapted.names() if shapes[name] > 1)
        self.log_weight_decay = nn.Parameter(torch.full((len(self.layers),), math.log(weight_decay)))
        self.log_l1 = None if l1 is None else nn.Parameter(torch.full((len(self.layers),), math.log(l1)))

    def inner_loss(self, theta: Theta, support: Examples, is_present: Tensor | None = None) -> Tensor:
        """Return the loss on the support and the penalties."""
        return super().inner_loss(theta, support, is_present) + self.penalty(theta)

    def penalty(self, theta: Theta) -> Tensor:
        """Return what large weights cost."""
        decay = self.log_weight_decay.exp()
        # A sum that begins with the decays' own zero, for nets whose tensors are all vectors.
        total = 0 * decay.sum()
        for name in self._weights:
            total = total + decay[self.rule.layers[name]] / 2 * theta[name].square().sum()
            if self.log_l1 is not None:
                total = total + self.log_l1[self.rule.layers[name]].exp() * theta[name].abs().sum()
        return total

    def values(self) -> dict[str, dict[str, float]]:
        """Return each hyper-parameter, 'lr', 'weight_decay' and 'l1', by the name of the layer."""
        logs = {"lr": self.rule.log_lr, "weight_decay": self.log_weight_decay, "l1": self.log_l1}
        return {
            name: dict(zip(self.layers, log.detach().exp().tolist(), strict=True))
            for name, log in logs.items()
            if log is not None
        }
