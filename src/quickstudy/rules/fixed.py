"""Update rules of fixed form, and that of Meta-SGD, which learns only the rates."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from quickstudy.functional.narrow import widened
from quickstudy.functional.numbers import real
from quickstudy.registry import register
from quickstudy.rules.base import Rule, Theta


def _positive(name: str, value: float) -> float:
    return float(real(name, value, above=0))


@register("rule")
class SGD(Rule):
    """Gradient descent, theta <- theta - lr g."""

    symmetric: ClassVar[bool] = True

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = _positive("lr", lr)

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return theta - lr g."""
        return {name: theta[name] - self.lr * grads[name] for name in theta}, state


@register("rule")
class ProximalSGD(Rule):
    """Gradient descent pulled to where it began, theta <- theta - lr (g + strength (theta - theta_0))."""

    symmetric: ClassVar[bool] = True

    def __init__(self, lr: float, strength: float) -> None:
        super().__init__()
        self.lr, self.strength = _positive("lr", lr), _positive("strength", strength)

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> Any:
        """Return theta_0."""
        return theta

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return the moved theta."""
        pulled = {name: grads[name] + self.strength * (theta[name] - state[name]) for name in theta}
        return {name: theta[name] - self.lr * pulled[name] for name in theta}, state


@register("rule")
class Adam(Rule):
    """Adam (Kingma & Ba 2015, algorithm 1), differentiable. Reptile uses beta1 = 0."""

    def __init__(self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__()
        for beta in betas:
            real("each of betas", beta, least=0, below=1)
        self.lr, self.betas, self.eps = _positive("lr", lr), betas, real("eps", eps, least=0)

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> Any:
        """Return first and second moments and the step count."""
        zeros = {name: torch.zeros_like(widened(value)) for name, value in theta.items()}
        like = next(iter(theta.values()))
        # In half precision 1 - beta2^t would round to 0, and a count stop growing at 256.
        wide = torch.promote_types(like.dtype, torch.float32)
        return zeros, zeros, torch.zeros((), dtype=wide, device=like.device)

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return the moved theta."""
        (b1, b2), (m, v, t) = self.betas, state
        t = t + 1
        m = {name: b1 * m[name] + (1 - b1) * grads[name] for name in theta}
        v = {name: b2 * v[name] + (1 - b2) * widened(grads[name]).square() for name in theta}
        # The tiny term keeps the root's derivative finite where a gradient is exactly zero.
        step = {name: m[name] / (1 - b1**t) / ((v[name] / (1 - b2**t) + 1e-30).sqrt() + self.eps) for name in theta}
        return {name: (theta[name] - self.lr * step[name]).to(theta[name].dtype) for name in theta}, (m, v, t)


@register("rule")
class AdamW(Adam):
    """Adam with decoupled weight decay, theta <- theta - lr (step + weight_decay theta) (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps)
        self.weight_decay = real("weight_decay", weight_decay, least=0)

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return the moved theta, decayed."""
        shrunk = {name: theta[name] * (1 - self.lr * self.weight_decay) for name in theta}
        return super().update(grads, state, shrunk, loss)


class LearnedRates(Rule):
    """A learned rate for every adapted number, theta <- theta - alpha * g (Li et al. 2017, equation 2).

    Args:
        theta: the tensors that will be adapted, for names and shapes.
        lr: each rate begins at its own draw from the uniform distribution on [lr/2, 3 lr/2].
    """

    def __init__(self, theta: Theta, lr: float) -> None:
        super().__init__()
        _positive("lr", lr)
        # Names of parameters hold dots, which a ParameterDict refuses.
        self.alpha = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter((lr * (0.5 + torch.rand_like(v))).detach())
                for name, v in theta.items()
            }
        )

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return theta - alpha * g."""
        return {name: theta[name] - self.alpha[name.replace(".", "/")] * grads[name] for name in theta}, state
