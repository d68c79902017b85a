"""A per-parameter MLP with momentum features, around an Adam-like step whose rate a second MLP sets for each tensor.

Metz et al. 2020, "Tasks, stability, architecture, and compute: Training more effective learned optimizers, and using
them to train themselves" (a network for tensors that steers one for parameters); Metz et al. 2022, "Practical tradeoffs
between memory, compute, and performance in learned optimizers" (features of one parameter); Harrison et al. 2022, "A
Closer Look at Learned Optimization: Stability, Robustness, and Inductive Biases" (a nominal step, and learned terms
that are nothing at first). With averages m, v of gradients and their squares at several decays:

    a, o   = MLP_tensor(z) + A z                   z: statistics of a tensor, and the time
    c, e   = MLP_parameter(x; o)                   x: what u is like but for its sign
    d      = (b + c) . u                           u: m / sqrt(v) of several decays, g / sqrt(v)
    theta <- theta - rate(t) exp(r + a) d exp(e),  r: a leaky sum of the other output of MLP_tensor
    rate(t) = base (1 - t / n)^p  of n steps,      base (1 + t / tau)^-q  where n is unknown

At first a = r = c = e = 0, so the rule is Adam with a falling rate. Multiplying the loss by a positive number leaves
the steps the same, and changing its sign turns them around. So theta rests where gradients are zero, which free
networks have to learn. Learned across tasks: both networks, b, the decays, base, p, q and tau. Departures: the papers
have more features of a parameter and other features of a tensor, and prescribe no sign. Here each tensor is moved by
itself, so that it does not matter which others are trained beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional.optimizer_features import shifted
from quickstudy.registry import register
from quickstudy.rules.base import LearnedRule, Theta, spare_empty

State = dict[str, dict[str, Tensor]]
DIRECTIONS, SEEN, STATISTICS = 7, 9, 26
"""Of a parameter, features of it, and of a tensor."""
TOGETHER = 2**20
"""Numbers that are moved at once: few operations for many small tensors, little memory for large ones."""


@register("rule", paper="Metz et al. 2020")
class MLPRule(LearnedRule):
    """Adam-like step with learned terms. It does not use the loss.

    Its state of each tensor has five parts. `momenta` (3, *shape) and `squares` (2, *shape) are averages, corrected for
    their start. `agreement` (6,) holds averages of how well the gradient agrees with the momenta before it. `log_rate`
    () is r. `step` and `steps` () count steps; `steps` is 0 if unknown.

    Args:
        hidden: width of the network for parameters.
        width: width of the network for tensors.
        lr: initial base rate.
        momenta: initial decays of the averages of the gradient.
        squares: initial decays of the averages of its square.

    Raises:
        InputError: an argument is out of range.
    """

    momenta: Tensor
    squares: Tensor

    def __init__(
        self,
        hidden: int = 4,
        width: int = 8,
        lr: float = 0.025,
        momenta: tuple[float, float, float] = (0.5, 0.9, 0.99),
        squares: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("width", width), ("lr", lr)):
            if not value > 0:
                raise InputError(f"{name} must be positive, not {value}")
        for name, decays, count in (("momenta", momenta, 3), ("squares", squares, 2)):
            if len(decays) != count or not all(0 < decay < 1 for decay in decays):
                raise InputError(f"{name} must be {count} decays in (0, 1), not {decays}")
        self.register_buffer("momenta", torch.tensor(momenta), persistent=False)
        self.register_buffer("squares", torch.tensor(squares), persistent=False)
        self.shift = nn.Parameter(torch.zeros(5))
        # log base, p, q, log tau
        self.nominal = nn.Parameter(torch.tensor([math.log(lr), 1.0, 0.75, math.log(100.0)]))
        self.seen_in = nn.Parameter(torch.randn(hidden, SEEN) / SEEN**0.5)
        self.seen_bias = nn.Parameter(torch.zeros(hidden))
        self.seen_out = nn.Parameter(torch.zeros(DIRECTIONS + 1, hidden))
        # m of the middle decay over the roots of both v: between two Adams.
        self.mixture = nn.Parameter(torch.tensor([0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0]))
        self.tensor_in = nn.Parameter(torch.randn(STATISTICS, width) / STATISTICS**0.5)
        self.tensor_bias = nn.Parameter(torch.zeros(width))
        self.tensor_out = nn.Parameter(torch.cat([torch.zeros(width, 2), 0.1 * torch.randn(width, hidden)], 1))
        self.tensor_direct = nn.Parameter(torch.zeros(STATISTICS, 2))

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> State:
        """Return zeros. The number of steps is None or 0 if it is unknown."""

        def one(value: Tensor) -> dict[str, Tensor]:
            zeros = value.new_zeros(5, *value.shape)
            # In half precision a count would stop growing at 2048, or at 256.
            count = torch.zeros((), dtype=torch.promote_types(value.dtype, torch.float32), device=value.device)
            return {
                "momenta": zeros[:3],
                "squares": zeros[3:],
                "agreement": count.new_zeros(6),
                "log_rate": count,
                "step": count,
                "steps": count + (0 if steps is None else steps),
            }

        return {name: one(value) for name, value in theta.items()}

    @spare_empty
    def update(self, grads: Theta, state: State, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, State]:
        """Return theta after one step, and the new state."""
        moved: Theta = {}
        after: State = {}
        for names in _together(theta):
            some = self._update(*({name: given[name] for name in names} for given in (grads, state, theta)))  # type: ignore[arg-type]
            moved, after = moved | some[0], after | some[1]
        return moved, after

    def _update(self, grads: Theta, state: State, theta: Theta) -> tuple[Theta, State]:
        # Squares of larger numbers overflow.
        grads = {name: grad.clamp(-1e15, 1e15) for name, grad in grads.items()}
        step, steps, rate, agreement = (
            torch.stack([state[name][part] for name in theta]) for part in ("step", "steps", "log_rate", "agreement")
        )
        after = self._averaged(grads, state, step)

        # All tensors end to end: N numbers.
        layout = _Layout(theta)
        g, value, before, m, v = (
            layout.join([parts[name] for name in theta])
            for parts in (
                grads,
                theta,
                {name: own["momenta"] for name, own in state.items()},
                {name: own["momenta"] for name, own in after.items()},
                {name: own["squares"] for name, own in after.items()},
            )
        )
        log, root = (v + 1e-20).log(), (v + 1e-20).rsqrt()
        directions = torch.cat([(m.unsqueeze(1) * root).flatten(0, 1), g * root[1]])
        products = layout.products(torch.cat([directions, before * root[1], value]))
        squares = torch.diagonal(products, dim1=1, dim2=2)
        cosines = products[:, 6, 7:10] * (squares[:, 6:7] * squares[:, 7:10] + 1e-12).rsqrt()
        level = layout.means(log)

        # For each of L tensors: what it looks like, and hence its rate.
        size = (squares[:, 10:] + 1e-8).sqrt()
        agreement = _followed(agreement, cosines)
        statistics = [
            (squares[:, :7] + 1e-8).log() / 4,
            (level[:, :1] - level[:, 1:]) / 2,
            size.log() / 2 + 1,
            layout.shapes,
            3 * agreement,
            rate.unsqueeze(1) / 2,
            _time(step, steps),
        ]
        z = torch.cat(statistics, 1).to(value.dtype)
        out = torch.relu(z @ self.tensor_in + self.tensor_bias) @ self.tensor_out
        climb, offset = (out[:, :2] + z @ self.tensor_direct).unbind(1)
        rate = 0.995 * rate + 0.01 * torch.tanh(climb)
        total = self._nominal(step, steps) + rate + 3 * torch.tanh(offset / 3)

        # For each parameter: what it looks like, and hence its step.
        middle, scale, length, *steering = layout.spread(
            torch.cat([level[:, 1:], 1 / size, total.clamp(-14, 1).exp().unsqueeze(1), out[:, 2:]], 1)
        )
        u = directions.clamp(-5, 5)
        features = [
            u[1:6:2].abs() - 0.5,
            u[6:].abs() - 0.5,
            u[6:] * u[3:4],
            u[1:2] * u[5:6],
            (log[:1] - log[1:]) / 2,
            (log[1:] - middle) / 4,
            (value * scale).abs() - 1,
        ]
        x = torch.cat(features).clamp(-3, 3)
        h = torch.relu(self.seen_in @ x + self.seen_bias.unsqueeze(1) + torch.stack(steering))
        out = self.seen_out @ h
        d = ((self.mixture.unsqueeze(1) + out[:-1]) * u).sum(0)
        moved = layout.part(value[0] - length * d * out[-1].clamp(-3, 3).exp())
        for i, name in enumerate(theta):
            after[name] |= {"agreement": agreement[i], "log_rate": rate[i]}
        return moved, after

    def _averaged(self, grads: Theta, state: State, step: Tensor) -> State:
        """Return the averages with gradients taken in, and the time."""
        decays = shifted(torch.cat([self.momenta, self.squares]), self.shift / 10).clamp(0.01, 0.9999)
        # The share that an average keeps of itself, so that it averages the gradients since its start and nothing else.
        t = step.unsqueeze(1)
        keep = decays * (1 - decays**t) / (1 - decays ** (t + 1))
        after: State = {}
        for (name, grad), own in zip(grads.items(), keep, strict=True):
            weights = own.to(grad.dtype).reshape(5, *(1,) * grad.ndim)
            after[name] = {
                "momenta": torch.lerp(grad, state[name]["momenta"], weights[:3]),
                "squares": torch.lerp(grad.square(), state[name]["squares"], weights[3:]),
                "step": state[name]["step"] + 1,
                "steps": state[name]["steps"],
            }
        return after

    def _nominal(self, step: Tensor, steps: Tensor) -> Tensor:
        """Return the logarithm of the nominal rate (L,)."""
        base, p, q, tau = self.nominal
        known, unknown = p * _left(step, steps), -q * torch.log1p(step * torch.exp(-tau))
        rate: Tensor = base + torch.where(steps > 0, known, unknown)
        return rate


def _left(step: Tensor, steps: Tensor) -> Tensor:
    """Return the logarithm of the share of steps that is left, this one included; 0 where their number is unknown."""
    share = (steps - step).clamp_min(1) / steps.clamp_min(1)
    return torch.where(steps > 0, share, 1.0).log()


def _time(step: Tensor, steps: Tensor) -> Tensor:
    """Return (L, 7) features of the time."""
    known, left, passed = (steps > 0).to(step.dtype), _left(step, steps), torch.log1p(step) / 5
    return torch.stack(
        [passed, torch.exp(-step / 5), known, left / 2, known * left.exp(), passed * known, torch.log1p(steps) / 5], 1
    )


def _followed(old: Tensor, cosines: Tensor) -> Tensor:
    """Return quick and slow averages (L, 6) with cosines (L, 3) taken in."""
    quick, slow = old.chunk(2, 1)
    return torch.cat([quick + 0.2 * (cosines - quick), slow + 0.03 * (cosines - slow)], 1)


def _together(theta: Theta) -> Iterator[list[str]]:
    """Yield names of tensors to be moved at once."""
    names: list[str] = []
    total = 0
    for name, value in theta.items():
        if names and total + value.numel() > TOGETHER:
            yield names
            names, total = [], 0
        names.append(name)
        total += value.numel()
    if names:
        yield names


class _Layout:
    """L tensors of theta, and the N numbers of all, end to end.

    Attributes:
        shapes: (L, 3) size, whether there is no fan-in, and fan-in.
    """

    def __init__(self, theta: Theta) -> None:
        self._shapes = {name: value.shape for name, value in theta.items()}
        self._sizes = [value.numel() for value in theta.values()]
        like = next(iter(theta.values()))
        rows = [
            (math.log(max(n, 1)) / 5, float(len(shape) < 2), math.log(math.prod(shape[1:])) / 3)
            for n, shape in zip(self._sizes, self._shapes.values(), strict=True)
        ]
        self.shapes = torch.tensor(rows, dtype=like.dtype, device=like.device)

    def join(self, parts: list[Tensor]) -> Tensor:
        """Return (K, N) of tensors (K, *shape), or (1, N) of (*shape)."""
        return torch.cat([part.reshape(-1, n) for part, n in zip(parts, self._sizes, strict=True)], 1)

    def means(self, joined: Tensor) -> Tensor:
        """Return (L, K) means over each tensor."""
        return torch.stack([part.mean(1) for part in torch.split(joined, self._sizes, 1)])

    def products(self, joined: Tensor) -> Tensor:
        """Return (L, K, K) mean products of rows over each tensor."""
        return torch.stack([part @ part.mT / part.shape[1] for part in torch.split(joined, self._sizes, 1)])

    def spread(self, rows: Tensor) -> Tensor:
        """Return (K, N) of (L, K): each tensor's for all its numbers."""
        return torch.cat([row.unsqueeze(1).expand(-1, n) for row, n in zip(rows, self._sizes, strict=True)], 1)

    def part(self, joined: Tensor) -> Theta:
        """Return the tensors of N numbers."""
        parts = torch.split(joined, self._sizes)
        return {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
