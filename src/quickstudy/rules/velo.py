"""VeLO: an LSTM for each tensor generates the tiny network that moves each of the tensor's numbers.

Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up", section 3 and appendix. At each step, for
a tensor theta of statistics s (fraction of training done, losses, momenta, second moments, rank):

    x = A s + max over tensors of relu(B relu(C s))          tensors tell each other of themselves
    c, a, h = LSTM(x, h)                                     controls c (bank,), step multiplier a
    W = 100 / bank * sum_b c_b W_b                           weights of this tensor's network, from a bank
    (d, m) = MLP(features of each parameter; W)
    theta <- theta - 0.001 a rms(theta) d exp(0.001 m)

The network has two hidden layers of 4 and looks at the gradient, momenta, second moments and Adafactor's factors of
each parameter (`functional.optimizer_features`). Learned across tasks: the LSTM, its initial state and the bank.
Departures: sizes are small by default (the paper's are hidden=512, bank=256). The tensor statistics are taken after the
step's gradient came in. Variances of second moments are about their own mean. If the number of steps is unknown,
features of the share of training are 0. In the published code the output of C is unused and the network has a third,
unused output; neither is so here.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional import optimizer_features as features
from quickstudy.nets.recurrent import LSTMCell
from quickstudy.registry import register
from quickstudy.rules.base import LearnedRule, Theta, spare_empty

State = dict[str, dict[str, Tensor]]
RANKS = 5
"""Ranks that are told apart, 0 to 4 and more; dimensions of 1 do not count."""


@register("rule", paper="Metz et al. 2022")
class VeLO(LearnedRule):
    """Hypernetwork optimiser. It uses the loss, and the share of training that is left.

    Its state of each tensor has `momenta`, `squares` and Adafactor's factors, `h` and `c` (hidden,), the averages
    `losses` and `minima` (10,) of the loss, `step` and `steps`. A loss that is not given is taken as constant.

    Args:
        hidden: size of the LSTM.
        bank: number of networks that are mixed.
        width: width of the per-parameter network's two hidden layers.
        momenta: decays of the averages of the gradient, and of Adafactor's factors.
        squares: decay of the average of its square.
        step: size of a step, relative to the tensor's root mean square.

    Raises:
        InputError: an argument is out of range.
    """

    momenta: Tensor
    squares: Tensor

    def __init__(
        self,
        hidden: int = 32,
        bank: int = 16,
        width: int = 4,
        momenta: tuple[float, ...] = (0.9, 0.99, 0.999),
        squares: float = 0.999,
        step: float = 0.001,
    ) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("bank", bank), ("width", width), ("step", step)):
            if not value > 0:
                raise InputError(f"{name} must be positive, not {value}")
        if not momenta or not all(0 <= decay < 1 for decay in (*momenta, squares)):
            raise InputError(f"decays must lie in [0, 1), not {momenta=} and {squares=}")
        self.size = step
        self.register_buffer("momenta", torch.tensor(momenta), persistent=False)
        self.register_buffer("squares", torch.tensor([squares]), persistent=False)
        seen = len(features.FRACTIONS) + features.SPANS - 1 + len(momenta) + 2 + RANKS
        self.own, self.others = nn.Linear(seen, hidden), nn.Linear(hidden, hidden)
        self.inner = nn.Linear(seen, hidden)
        self.cell = LSTMCell(hidden, hidden)
        self.begin = nn.Parameter(torch.zeros(2, hidden))
        self.controls, self.multiplier = nn.Linear(hidden, bank), nn.Linear(hidden, 1)
        sizes = [6 + 8 * len(momenta), width, width, 2]
        self.weights = nn.ParameterList(
            nn.Parameter(nn.init.trunc_normal_(torch.empty(bank, o, i), std=i**-0.5, a=-2 * i**-0.5, b=2 * i**-0.5))
            for i, o in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(bank, o)) for o in sizes[1:])

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> State:
        """Return zero averages, and the LSTM's learned beginning."""
        m, r = len(self.momenta), len(self.squares)

        def one(value: Tensor) -> dict[str, Tensor]:
            # In half precision a count would stop growing at 2048, or at 256.
            wide = torch.promote_types(value.dtype, torch.float32)
            count = torch.zeros((), dtype=wide, device=value.device)
            averages = {"momenta": features.zeros(value, m), "squares": features.zeros(value, r)}
            lstm = dict(zip("hc", self.begin.to(value.dtype), strict=True))
            clock = {"step": count, "steps": count + (0 if steps is None else steps)}
            return {**averages, **features.factors_start(value, m), **lstm, **features.losses_start(count), **clock}

        return {name: one(value) for name, value in theta.items()}

    @spare_empty
    def update(self, grads: Theta, state: State, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, State]:
        """Return theta after one step, and the new state."""
        # Each tensor has its own clock: some may join later.
        parts = ("step", "steps", "losses", "minima")
        old = {part: torch.stack([state[name][part] for name in theta]) for part in parts}
        value = torch.ones_like(old["step"]) * (1.0 if loss is None else loss)
        losses, going = features.losses_update(old, value, old["step"], old["steps"])
        common = torch.cat([features.fraction_features(old["step"], old["steps"]), going], -1)

        # A single enormous gradient must not fill the averages for good.
        grads = {name: grads[name].clamp(-1000, 1000) for name in theta}
        after: State = {}
        for i, name in enumerate(theta):
            after[name] = {
                "momenta": features.averages(state[name]["momenta"], grads[name], self.momenta),
                "squares": features.averages(state[name]["squares"], grads[name].square(), self.squares),
                **features.factors_update(state[name], grads[name], self.momenta),
                **{part: value[i] for part, value in losses.items()},
                "step": state[name]["step"] + 1,
                "steps": state[name]["steps"],
            }

        seen = torch.stack([self._statistics(theta[n], after[n], row) for n, row in zip(theta, common, strict=True)])
        told = torch.relu(self.others(torch.relu(self.inner(seen)))).amax(0)
        before = (torch.stack([state[name][part] for name in theta]) for part in "hc")
        out, (h, c) = self.cell(self.own(seen) + told, tuple(before))
        moved = {}
        for name, controls, multiplier, *lstm in zip(
            theta, self.controls(out), self.multiplier(out).squeeze(-1), h, c, strict=True
        ):
            moved[name] = theta[name] - multiplier * self._direction(grads[name], theta[name], after[name], controls)
            after[name] |= dict(zip("hc", lstm, strict=True))
        return moved, after

    def _statistics(self, value: Tensor, kept: dict[str, Tensor], common: Tensor) -> Tensor:
        """Return what the LSTM sees of a tensor."""
        size = value.square().mean().clamp_min(1e-9).rsqrt()
        m, v = (kept[name].reshape(-1, kept[name].shape[-1]) * size for name in ("momenta", "squares"))
        rank = min(sum(dimension > 1 for dimension in value.shape), RANKS - 1)
        ranks = torch.arange(RANKS, device=value.device) == rank
        parts = [v.mean(0), v.var(0, correction=0), m.var(0, correction=0)]
        return torch.cat([common.to(value.dtype), *(_log(part) for part in parts), ranks.to(value.dtype)])

    def _direction(self, grad: Tensor, value: Tensor, kept: dict[str, Tensor], controls: Tensor) -> Tensor:
        """Return the step of a tensor, but for its multiplier."""
        m, v = kept["momenta"], kept["squares"]
        one = grad.unsqueeze(-1)
        rest = [one.clamp(-0.1, 0.1), one * (v + 1e-6).rsqrt()]
        x = features.normalised(torch.cat([features.parameter_features(grad, value, m, v, kept), *rest], -1))
        for i, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.relu(x) if i else x
            weight, bias = (100 / len(bank) * torch.tensordot(controls, bank, 1) for bank in (weights, biases))
            x = x @ weight.mT + bias
        direction, magnitude = x.unbind(-1)
        return self.size * (value.square().mean() + 1e-9).sqrt() * direction * torch.exp(0.001 * magnitude)


def _log(x: Tensor) -> Tensor:
    """Return the logarithm of statistics >= 0, in [-2.5, 2.5]."""
    return 0.5 * (10 * x + 1e-8).log().clamp(-5, 5)
