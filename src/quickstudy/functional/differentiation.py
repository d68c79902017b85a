"""HOW the outer gradient passes through an inner loop.

`gradient` computes the inner gradient; `finish` may attach an outer gradient to the inner loop's result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.func import grad, grad_and_value, vjp

from quickstudy.errors import InputError
from quickstudy.registry import register

Theta = dict[str, Tensor]
Loss = Callable[[Theta, Any], Tensor]
"""Inner loss of theta and the support."""


@register("differentiation")
@dataclass(frozen=True)
class Unrolled:
    """Through every inner step, second order.

    Args:
        checkpoint: keep every so many-th inner state for the outer gradient and compute what lies between again, for
            the same gradient in less memory and more time; 0 keeps everything. None chooses: large unrolls keep every
            sqrt(steps)-th (see `functional.checkpointing.unroll`).
    """

    exact: ClassVar[bool] = True
    """Whether the outer gradient is the true derivative."""
    checkpoint: int | None = None

    def __post_init__(self) -> None:
        """Check the argument."""
        if self.checkpoint is not None and self.checkpoint < 0:
            raise InputError(f"checkpoint must be 0 (keep everything) or more, not {self.checkpoint}")

    def gradient(self, loss: Loss, theta: Theta, support: Any) -> tuple[Theta, Tensor]:
        """Return dL/dtheta and L, themselves differentiable."""
        return grad_and_value(loss)(theta, support)

    def finish(self, loss: Loss, start: Theta, end: Theta, support: Any) -> Theta:
        """Return the end as it is."""
        return end


@register("differentiation")
@dataclass(frozen=True)
class FirstOrder:
    """Inner gradients are constants: d theta' / d theta_0 = I."""

    exact: ClassVar[bool] = False
    checkpoint: ClassVar[int] = 0
    """Inner steps leave nothing to keep."""

    def gradient(self, loss: Loss, theta: Theta, support: Any) -> tuple[Theta, Tensor]:
        """Return dL/dtheta and L as constants. `grad` turns recording on for itself only."""
        with torch.no_grad():
            return grad_and_value(loss)(theta, support)

    def finish(self, loss: Loss, start: Theta, end: Theta, support: Any) -> Theta:
        """Return the end as it is."""
        return end


@register("differentiation")
@dataclass(frozen=True)
class Implicit:
    """At the minimum of L(theta) + strength/2 |theta - theta_0|^2, without storing the inner steps.

    Rajeswaran et al. 2019, "Meta-Learning with Implicit Gradients", lemma 1:
    d theta* / d theta_0 = (I + H / strength)^-1 with H the Hessian of the inner loss at theta*; its product with the
    outer gradient is found by `cg_steps` of conjugate gradient (algorithm 2).
    """

    exact: ClassVar[bool] = False
    checkpoint: ClassVar[int] = 0
    strength: float
    cg_steps: int = 5

    def gradient(self, loss: Loss, theta: Theta, support: Any) -> tuple[Theta, Tensor]:
        """Return dL/dtheta and L as constants."""
        with torch.no_grad():
            return grad_and_value(loss)(theta, support)

    def finish(self, loss: Loss, start: Theta, end: Theta, support: Any) -> Theta:
        """Return the end with the implicit gradient to the start."""
        names = list(end)
        leaves, spec = pytree.tree_flatten(support)

        def solve(theta: Theta, vector: Theta, support: Any) -> Theta:
            def damped(v: Theta) -> Theta:
                # H is symmetric, so a vector-Jacobian product of the gradient is the Hessian-vector product.
                pull = vjp(lambda t: grad(loss)(t, support), theta)[1]
                return {name: v[name] + pull(v)[0][name] / self.strength for name in v}

            return conjugate_gradient(damped, vector, self.cg_steps)

        outputs = _Implicit.apply(  # type: ignore[no-untyped-call]
            names, spec, len(leaves), solve, *(end[n].detach() for n in names), *leaves, *(start[n] for n in names)
        )
        return dict(zip(names, outputs, strict=True))


class _Implicit(torch.autograd.Function):
    """Identity from the inner loop's end; backward solves the implicit equation and hands the result to the start."""

    generate_vmap_rule = True

    @staticmethod
    def forward(names: list[str], spec: Any, rows: int, solve: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[: len(names)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.names, ctx.spec, ctx.rows, ctx.solve = inputs[:4]
        ctx.save_for_backward(*inputs[4 : 4 + len(ctx.names) + ctx.rows])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        n = len(ctx.names)
        saved = ctx.saved_tensors
        theta = dict(zip(ctx.names, saved[:n], strict=True))
        support = pytree.tree_unflatten(list(saved[n:]), ctx.spec)
        with torch.no_grad():
            solved = ctx.solve(theta, dict(zip(ctx.names, cotangents, strict=True)), support)
        nothing: tuple[Any, ...] = (None,) * (4 + n + ctx.rows)
        return (*nothing, *(solved[name] for name in ctx.names))


def conjugate_gradient(matvec: Callable[[Theta], Theta], b: Theta, steps: int) -> Theta:
    """Return x with matvec(x) = b for a symmetric positive definite matvec (Hestenes & Stiefel 1952)."""

    def dot(u: Theta, v: Theta) -> Tensor:
        return torch.stack([(u[name] * v[name]).sum() for name in u]).sum()

    x = {name: torch.zeros_like(value) for name, value in b.items()}
    r = p = b
    rr = dot(r, r)
    for _ in range(steps):
        ap = matvec(p)
        curvature = dot(p, ap)
        # Where the residual has vanished (solved) or the curvature is not positive (no minimum that way), stay put.
        # A branch would not vmap.
        go = (curvature > 0) & (rr > 0)
        alpha = torch.where(go, rr / torch.where(go, curvature, 1.0), 0.0)
        x = {name: x[name] + alpha * p[name] for name in x}
        r = {name: r[name] - alpha * ap[name] for name in r}
        new = dot(r, r)
        beta = torch.where(go, new / torch.where(go, rr, 1.0), 0.0)
        p = {name: r[name] + beta * p[name] for name in p}
        rr = new
    return x
