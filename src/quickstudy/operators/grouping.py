"""Group norm, differentiable to any order, of maps whose channels come last (see `operators.channels_last`).

PyTorch's rule under vmap refuses such maps, and others copy them to the slow layout and back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.operators.channels_last import apply, laid, merged, split, stacked, suits, unflatten


class GroupNorm(torch.autograd.Function):
    """x (S, C, H, W), weight and bias (C,) or None -> y, and the mean and 1 / standard deviation (S, groups) of x."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, channels, height, width = x.shape
        args = (weight, bias, rows, channels, height * width, groups, eps)
        x = laid(x)
        # PyTorch's kernel for this layout loses the digits of what varies little about a large mean.
        middle = x.mean((2, 3)).reshape(rows, groups, channels // groups).mean(2)
        y, mean, scale = torch.ops.aten.native_group_norm(laid(_less(x, middle)), *args)
        return y, middle + mean, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, weight, bias, ctx.groups, ctx.eps = inputs
        ctx.biased = bias is not None
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor, *_: Any) -> tuple[Any, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        of_x, of_weight, of_bias = apply(Cotangents, g, x, weight, mean, scale, ctx.groups, ctx.eps)
        return of_x, None if weight is None else of_weight, of_bias if ctx.biased else None, None, None

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        groups: int,
        eps: float,
    ) -> tuple[Any, tuple[int, int, int]]:
        tasks = info.batch_size
        if dims[0] is not None and dims[1] is None and dims[2] is None:
            # One norm for all tasks: their rows are just more rows.
            found = apply(GroupNorm, x.movedim(dims[0], 0).flatten(0, 1), weight, bias, groups, eps)
            return tuple(unflatten(each, 0, tasks) for each in found), (0, 0, 0)
        weight = None if weight is None else stacked(weight, dims[1], tasks)
        bias = None if bias is None else stacked(bias, dims[2], tasks)
        found = apply(GroupNorm, merged(x, dims[0], tasks), weight, bias, groups * tasks, eps)
        return tuple(split(each, tasks) for each in found), (1, 1, 1)


class Cotangents(torch.autograd.Function):
    """g (S, C, H, W), and x, weight, mean and scale as above -> the cotangents of x, of weight and of bias."""

    @staticmethod
    def forward(
        g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, channels, height, width = x.shape
        # Without a weight PyTorch's kernel knows of no bias either.
        given = weight is not None
        args = (weight, rows, channels, height * width, groups, (True, given, given))
        of_x, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
            laid(g), laid(_less(laid(x), mean)), torch.zeros_like(mean), scale.contiguous(), *args
        )
        return (of_x, of_weight, of_bias) if given else (of_x, x.new_zeros(channels), g.sum((0, 2, 3)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        g, x, weight, _, _, ctx.groups, ctx.eps = inputs
        ctx.save_for_backward(g, x, weight)

    @staticmethod
    def backward(ctx: Any, of_x: Tensor, of_weight: Tensor, of_bias: Tensor) -> tuple[Any, ...]:
        g, x, weight = ctx.saved_tensors
        one = x.new_ones(x.shape[1]) if weight is None else weight

        def cotangents(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
            bias = torch.zeros_like(weight)
            pull = torch.func.vjp(lambda x, w, b: _formula(x, ctx.groups, w, b, ctx.eps), x, weight, bias)[1]
            return pull(g)  # type: ignore[no-any-return]

        found = torch.func.vjp(cotangents, g, x, one)[1]((of_x, of_weight, of_bias))
        return (*found[:2], None if weight is None else found[2], None, None, None, None)

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        g: Tensor,
        x: Tensor,
        weight: Tensor | None,
        mean: Tensor,
        scale: Tensor,
        groups: int,
        eps: float,
    ) -> tuple[Any, tuple[int, int, int]]:
        tasks = info.batch_size
        weight = None if weight is None else stacked(weight, dims[2], tasks)
        of = (_merged(mean, dims[3], tasks), _merged(scale, dims[4], tasks))
        maps = (merged(g, dims[0], tasks), merged(x, dims[1], tasks))
        of_x, of_weight, of_bias = apply(Cotangents, *maps, weight, *of, groups * tasks, eps)
        return (split(of_x, tasks), unflatten(of_weight, 0, tasks), unflatten(of_bias, 0, tasks)), (1, 0, 0)


def _merged(x: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Return (S, T x groups)."""
    x = x.unsqueeze(1).expand(-1, tasks, -1) if dim is None else x.movedim(dim, 1)
    return x.flatten(1, 2)


def _less(x: Tensor, mean: Tensor) -> Tensor:
    """Return a map (S, C, H, W) less a number of each group (S, groups)."""
    return x - mean.repeat_interleave(x.shape[1] // mean.shape[1], 1)[..., None, None]


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Do what `torch.nn.functional.group_norm` does; off the CPU, derivatives are right up to the second only."""
    given = [each for each in (weight, bias) if each is not None]
    wrong = input.ndim < 2 or num_groups < 1 or input.shape[1] % num_groups
    if wrong or any(each.shape != input.shape[1:2] for each in given):
        return F.group_norm(input, num_groups, weight, bias, eps)  # which says what is wrong
    rows, channels, *sides = input.shape
    if suits(input) and all(each.dtype == input.dtype for each in given):
        flat = input if len(sides) == 2 else input.reshape(rows, channels, math.prod(sides), 1)
        return apply(GroupNorm, flat, weight, bias, num_groups, eps)[0].reshape(input.shape)  # type: ignore[no-any-return]
    # Layer norm over groups has rules of its own everywhere, and is fast on a GPU.
    shape = (rows, num_groups, channels // num_groups * math.prod(sides))
    output = F.layer_norm(input.reshape(shape), shape[2:], eps=eps).reshape(input.shape)
    return _affine(output, weight, bias).to(input.dtype)


def _formula(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    # Not layer norm: its third derivatives are wrong in PyTorch.
    rows = x.reshape(len(x), groups, x.shape[1:].numel() // groups)
    var, mean = torch.var_mean(rows, 2, correction=0, keepdim=True)
    return _affine(((rows - mean) * torch.rsqrt(var + eps)).reshape(x.shape), weight, bias)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)
