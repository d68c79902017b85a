"""Derivatives at a fixed point, without autograd's way through all the steps that lead to it.

`attach` hands a gradient past the steps, `mixed` finds a second derivative from first ones, and two solvers find
(I - M)^-1 b from products with M alone. All can be mapped over tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad

from quickstudy.operators import trees
from quickstudy.operators.checkpointing import Call
from quickstudy.operators.internals import in_transform, unwrapped
from quickstudy.operators.substitution import carried

Theta = dict[str, Tensor]


def depends(tensor: Tensor) -> bool:
    """Return whether a tensor depends on one that requires a gradient, also inside vmap, where it does not say so."""
    while not tensor.requires_grad and in_transform(tensor):
        tensor = unwrapped(tensor)
    return tensor.requires_grad


def attach(theta: Theta, moved: Theta, solve: Callable[..., Theta], *given: Any) -> Theta:
    """Return theta unchanged. Its gradient is handed to `moved` as solve(gradient, theta, *given).

    Args:
        theta: tensors by name, taken as constants.
        moved: tensors of the same names and shapes, which get the gradient.
        solve: pure function of its arguments, which are pytrees of tensors.
        given: further arguments of `solve`. A closure must not hold them: inside vmap they would be one task's.
    """
    names = list(theta)
    leaves, spec = trees.flatten(given)
    outputs = _FixedPoint.apply(  # type: ignore[no-untyped-call]
        names, spec, len(leaves), carried(solve), *theta.values(), *leaves, *(moved[name] for name in names)
    )
    return dict(zip(names, outputs, strict=True))


def mixed(
    grads: Theta, loss: Callable[..., Tensor], theta: Theta, *given: Any, module: nn.Module, alpha: float
) -> Theta:
    """Return the gradient of loss(theta, *given) by theta unchanged, with a derivative by everything else that is
    learned.

    Its product with a vector v is the central difference (g(theta + eps v) - g(theta - eps v)) / (2 eps) of
    g = dloss/d(given, the module's parameters), with eps = alpha / |v|: off by O(alpha^2), and exact for quadratics.
    """
    call = Call(loss, module)
    tensors = call.flatten((theta, *given))
    outputs = _Mixed.apply(call, alpha, len(theta), *(grads[n] for n in theta), *tensors)  # type: ignore[no-untyped-call]
    return dict(zip(theta, outputs, strict=True))


class _FixedPoint(torch.autograd.Function):
    """Return the inner loop's end unchanged. Backward solves for the gradient and hands it to the step made there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(names: list[str], spec: Any, count: int, solve: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[: len(names)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.names, ctx.spec, ctx.count, ctx.solve = inputs[:4]
        ctx.save_for_backward(*inputs[4 : 4 + len(ctx.names) + ctx.count])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        n = len(ctx.names)
        saved = ctx.saved_tensors
        theta = dict(zip(ctx.names, saved[:n], strict=True))
        given = trees.unflatten(list(saved[n:]), ctx.spec)
        with torch.no_grad():
            solved = ctx.solve(dict(zip(ctx.names, cotangents, strict=True)), theta, *given)
        nothing: tuple[Any, ...] = (None,) * (4 + n + ctx.count)
        return (*nothing, *(solved[name] for name in ctx.names))


class _Mixed(torch.autograd.Function):
    """Return the inner gradient unchanged. Backward takes its derivative, except by theta, with central differences."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Call, alpha: float, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[:n])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, ctx.alpha, ctx.n = inputs[:3]
        ctx.save_for_backward(*inputs[3 + ctx.n :])

    @staticmethod
    def backward(ctx: Any, *vector: Tensor) -> tuple[Any, ...]:
        n, saved = ctx.n, ctx.saved_tensors
        theta, others = saved[:n], saved[n:]
        wanted = [i for i in range(len(others)) if ctx.needs_input_grad[3 + 2 * n + i]]
        length = torch.stack([v.square().sum() for v in vector]).sum().sqrt()
        # Where there is no gradient eps must be finite, and the differences are zero.
        eps = ctx.alpha / length.clamp_min(1e-12)

        def slopes(side: Tensor) -> tuple[Tensor, ...]:
            moved = [value + side * v for value, v in zip(theta, vector, strict=True)]

            def loss(*some: Tensor) -> Tensor:
                given = list(others)
                for i, tensor in zip(wanted, some, strict=True):
                    given[i] = tensor
                return ctx.call(*moved, *given)[0]  # type: ignore[no-any-return]

            found: tuple[Tensor, ...] = grad(loss, tuple(range(len(wanted))))(*(others[i] for i in wanted))
            return found

        grads: list[Tensor | None] = [None] * (3 + 2 * n + len(others))
        with torch.no_grad():
            for i, up, down in zip(wanted, slopes(eps), slopes(-eps), strict=True):
                grads[3 + 2 * n + i] = (up - down) / (2 * eps)
        return tuple(grads)


def neumann_series(product: Callable[[Theta], Theta], b: Theta, steps: int) -> Theta:
    """Return sum_{k=0..steps} M^k b, which tends to (I - M)^-1 b for an M that contracts, from v -> M v."""
    total = term = b
    for _ in range(steps):
        term = product(term)
        total = {name: total[name] + term[name] for name in total}
    return total


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
