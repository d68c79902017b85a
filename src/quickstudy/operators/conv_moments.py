"""A convolution, its maxima in windows and its moments in one operator, differentiable to any order.

A block of convolution, batch norm and pooling needs these of its largest map, which is read as seldom as possible.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.operators.channels_last import apply, empty, laid, merged, split, stacked, unflatten
from quickstudy.operators.convolution import Input, Shape, Weight
from quickstudy.operators.pooling import Gather, Windows, channel_moments


class Block(torch.autograd.Function):
    """x (S, C, H, W), w -> maxima (S, O, h, w), mean (O,), variance (O,) of z = x * w; then z and where they were."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, shape: Shape, windows: Windows) -> tuple[Tensor, ...]:
        z = shape.forward(x, w)
        maxima, where = torch.ops.aten.max_pool2d_with_indices(z, *windows.arguments)
        return maxima, *channel_moments(z), z, where

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, w, ctx.shape, ctx.windows = inputs
        _, mean, _, z, where = output
        ctx.mark_non_differentiable(where)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w, z, mean, where)

    @staticmethod
    def backward(ctx: Any, *g: Tensor | None) -> tuple[Any, ...]:
        x, w, z, mean, where = ctx.saved_tensors
        to_maxima, to_mean, to_variance, to_z, _ = g
        count = z.numel() // z.shape[1]
        # dL/dz = offset + slope z, from the moments (as in `pooling.Moments`), and what the maxima pass on.
        slope = offset = None
        if to_variance is not None:
            slope = to_variance * (2 / count)
            offset = -slope * mean
        if to_mean is not None:
            offset = to_mean / count if offset is None else offset + to_mean / count
        total = to_z
        if to_maxima is not None or offset is not None:
            slope = torch.zeros_like(mean) if slope is None else slope
            offset = torch.zeros_like(mean) if offset is None else offset
            to_maxima = torch.zeros_like(where, dtype=z.dtype) if to_maxima is None else to_maxima
            spread: Tensor = apply(Spread, to_maxima, where, z, slope, offset, ctx.windows)
            total = spread if total is None else total + spread
        return (
            apply(Input, total, w, ctx.shape) if ctx.needs_input_grad[0] and total is not None else None,
            apply(Weight, total, x, ctx.shape) if ctx.needs_input_grad[1] and total is not None else None,
            None,
            None,
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor, w: Tensor, shape: Shape, windows: Windows) -> Any:
        tasks = info.batch_size
        operands = merged(x, dims[0], tasks), stacked(w, dims[1], tasks)
        maxima, mean, var, z, where = apply(Block, *operands, shape.times(tasks), windows)
        moments = unflatten(mean, 0, tasks), unflatten(var, 0, tasks)
        return (split(maxima, tasks), *moments, split(z, tasks), split(where, tasks)), (1, 0, 0, 1, 1)


class Spread(torch.autograd.Function):
    """Cotangents (S, C, h, w) to where the maxima were, plus slope (C,) z + offset (C,)."""

    @staticmethod
    def forward(g: Tensor, where: Tensor, z: Tensor, slope: Tensor, offset: Tensor, windows: Windows) -> Tensor:
        like = empty(g.dtype, *z.shape)
        out: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(laid(g), like, *windows.arguments, where)
        return out.addcmul_(z, slope.reshape(1, -1, 1, 1)).add_(offset.reshape(1, -1, 1, 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.windows = inputs[5]
        ctx.save_for_backward(inputs[1], inputs[2], inputs[3])

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        where, z, slope = ctx.saved_tensors
        g = apply(Gather, v, where, ctx.windows)
        return g, None, v * slope.reshape(1, -1, 1, 1), (v * z).sum((0, 2, 3)), v.sum((0, 2, 3)), None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        tasks = info.batch_size
        maps = (merged(each, dim, tasks) for each, dim in zip(args[:3], dims[:3], strict=True))
        lines = (stacked(each, dim, tasks) for each, dim in zip(args[3:5], dims[3:5], strict=True))
        return split(apply(Spread, *maps, *lines, args[5]), tasks), 1


def conv_maxima_moments(x: Tensor, weight: Tensor, shape: Shape, windows: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maxima in windows, the mean and the biased variance of a convolution's maps."""
    maxima, mean, var, _, _ = apply(Block, x, weight, shape, windows)
    return maxima, mean, var
