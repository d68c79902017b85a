"""The coordinate-wise LSTM: one small recurrent net moves every number of theta by itself.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", section 2.1 and appendix A:

    theta_t+1 = theta_t + scale * w . h_t,    (h_t, c_t) = LSTM(x(g_t), h_t-1, c_t-1)
    x(g) = (log|g| / p, sign g)  if |g| >= exp(-p),   else (-1, exp(p) g)

All coordinates share the net's weights, and each has its own state. So the rule fits a theta of any size, and permuting
coordinates permutes their updates. Learned across tasks: the weights. Departures: none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.nets.recurrent import LSTMCell
from quickstudy.registry import register
from quickstudy.rules.base import LearnedRule, Theta, spare_empty

State = dict[str, dict[str, Tensor]]


@register("rule", paper="Andrychowicz et al. 2016")
class LSTMRule(LearnedRule):
    """Coordinate-wise LSTM. Its state holds `h0`, `c0`, `h1`, ... of each tensor, each (coordinates, hidden).

    Args:
        hidden: size of each layer's state.
        layers: LSTM layers.
        scale: factor of the output, since theta moves little at each step.
        p: gradients of at least exp(-p) enter as their logarithm, divided by p, and their sign.

    Raises:
        InputError: an argument is not positive.
    """

    def __init__(self, hidden: int = 20, layers: int = 2, scale: float = 0.1, p: float = 10.0) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("layers", layers), ("scale", scale), ("p", p)):
            if not value > 0:
                raise InputError(f"{name} must be positive, not {value}")
        self.scale, self.p = scale, p
        self.cells = nn.ModuleList([LSTMCell(hidden if layer else 2, hidden) for layer in range(layers)])
        self.head = nn.Linear(hidden, 1)

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> State:
        """Return zeros."""
        hidden, parts = self.head.in_features, [f"{part}{i}" for i in range(len(self.cells)) for part in "hc"]
        return {name: {part: value.new_zeros(value.numel(), hidden) for part in parts} for name, value in theta.items()}

    @spare_empty
    def update(self, grads: Theta, state: State, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, State]:
        """Return theta + scale * w . h, and the LSTM's new state."""
        # Coordinates of all tensors are rows of one batch: few large products rather than many small ones.
        sizes = [theta[name].numel() for name in theta]
        x = seen(torch.cat([grads[name].reshape(-1) for name in theta]), self.p)
        after: State = {name: {} for name in theta}
        for i, cell in enumerate(self.cells):
            before = tuple(torch.cat([state[name][f"{part}{i}"] for name in theta]) for part in "hc")
            x, new = cell(x, before)
            for part, rows in zip("hc", new, strict=True):
                for name, own in zip(theta, rows.split(sizes), strict=True):
                    after[name][f"{part}{i}"] = own
        moves = (self.scale * self.head(x).squeeze(-1)).split(sizes)
        moved = {
            name: value + move.reshape(value.shape) for (name, value), move in zip(theta.items(), moves, strict=True)
        }
        return moved, after


def seen(grad: Tensor, p: float) -> Tensor:
    """Return what the net sees of a gradient (n,): (n, 2) (appendix A)."""
    large = grad.abs() >= math.exp(-p)
    # The logarithm's derivative stays finite where it is not used.
    log = torch.where(large, grad, 1.0).abs().log() / p
    return torch.stack([torch.where(large, log, -1.0), torch.where(large, grad.sign(), math.exp(p) * grad)], -1)
