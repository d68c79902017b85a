"""Convolution, differentiable to any order, of maps whose channels come last (see `operators.channels_last`).

y = x * w is bilinear: with a cotangent g, <g, x * w> is linear in each of g, x and w, and its three partial derivatives
(called `Output`, `Input` and `Weight` below) are each other's derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.operators.channels_last import apply, empty, laid, merged, pair, split, stacked, suits, unflatten

# Not tuples: functorch would take them apart, number by number, at every call.


@dataclass(frozen=True)
class Shape:
    """The sizes that a convolution needs besides its tensors."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    products: torch.dtype | None = None
    """Dtype in which numbers are multiplied, such as bfloat16; sums, inputs and outputs keep their own."""

    def times(self, tasks: int) -> Shape:
        return replace(self, groups=self.groups * tasks)

    def outputs(self) -> tuple[int, int]:
        """Return the height and width of y."""
        height, width = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(
                self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return height, width

    def forward(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return y."""
        low = None if bias is None else bias.to(self.products or bias.dtype)
        args = (low, self.stride, self.padding, self.dilation, self.groups)
        return torch.conv2d(laid(x, self.products), laid(w, self.products), *args).to(x.dtype)

    def backward(self, g: Tensor, x: Tensor, w: Tensor, which: tuple[bool, bool]) -> Tensor:
        """Return the cotangent of x or of w, whichever `which` says."""
        args = ([0], self.stride, self.padding, self.dilation, False, [0, 0], self.groups, (*which, False))
        low = (laid(each, self.products) for each in (g, x, w))
        result: Tensor = torch.ops.aten.convolution_backward(*low, *args)[which.index(True)]
        return result.to(g.dtype)


class Bilinear(torch.autograd.Function):
    """One of the three partial derivatives; subclasses say which."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, b, ctx.shape = inputs[:3]
        ctx.save_for_backward(a, b)


class Output(Bilinear):
    """x (S, C, H, W), w (O, C / groups, k, l), bias (O,) or None -> y."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, shape: Shape, bias: Tensor | None) -> Tensor:
        return shape.forward(x, w, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        return (
            apply(Input, g, w, ctx.shape) if ctx.needs_input_grad[0] else None,
            apply(Weight, g, x, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
            g.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None,
        )

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], x: Tensor, w: Tensor, shape: Shape, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        tasks = info.batch_size
        if dims[0] is not None and dims[1] is None and dims[3] is None:
            # One net for all tasks: their rows are just more rows.
            y = apply(Output, x.movedim(dims[0], 0).flatten(0, 1), w, shape, bias)
            return unflatten(y, 0, tasks), 0
        w, bias = stacked(w, dims[1], tasks), None if bias is None else stacked(bias, dims[3], tasks)
        return split(apply(Output, merged(x, dims[0], tasks), w, shape.times(tasks), bias), tasks), 1


class Input(Bilinear):
    """g (S, O, h, v), w -> the cotangent of x."""

    @staticmethod
    def forward(g: Tensor, w: Tensor, shape: Shape) -> Tensor:
        x = empty(shape.products or g.dtype, len(g), w.shape[1] * shape.groups, *shape.size)
        return shape.backward(g, x, w, (True, False))

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        g, w = ctx.saved_tensors
        return (
            apply(Output, v, w, ctx.shape, None) if ctx.needs_input_grad[0] else None,
            apply(Weight, g, v, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], g: Tensor, w: Tensor, shape: Shape) -> tuple[Tensor, int]:
        tasks = info.batch_size
        if dims[0] is not None and dims[1] is None:
            x = apply(Input, g.movedim(dims[0], 0).flatten(0, 1), w, shape)
            return unflatten(x, 0, tasks), 0
        w = stacked(w, dims[1], tasks)
        return split(apply(Input, merged(g, dims[0], tasks), w, shape.times(tasks)), tasks), 1


class Weight(Bilinear):
    """g, x -> the cotangent of w."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, shape: Shape) -> Tensor:
        w = empty(shape.products or g.dtype, g.shape[1], x.shape[1] // shape.groups, *shape.kernel)
        return shape.backward(g, x, w, (False, True))

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Any, ...]:
        g, x = ctx.saved_tensors
        return (
            apply(Output, x, u, ctx.shape, None) if ctx.needs_input_grad[0] else None,
            apply(Input, g, u, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], g: Tensor, x: Tensor, shape: Shape) -> tuple[Tensor, int]:
        tasks = info.batch_size
        w = apply(Weight, merged(g, dims[0], tasks), merged(x, dims[1], tasks), shape.times(tasks))
        return unflatten(w, 0, tasks), 0


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    *,
    products: torch.dtype | None = None,
) -> Tensor:
    """Do what `torch.nn.functional.conv2d` does; `products` is the dtype in which numbers are multiplied."""
    shape = shape_of(input, weight, stride, padding, dilation, groups, products)
    if shape is not None:
        return apply(Output, input, weight, shape, bias)  # type: ignore[no-any-return]
    if products is None:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    low = None if bias is None else bias.to(products)
    return F.conv2d(input.to(products), weight.to(products), low, stride, padding, dilation, groups).to(input.dtype)


def shape_of(
    input: Tensor,
    weight: Tensor,
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] | str,
    dilation: int | tuple[int, ...],
    groups: int,
    products: torch.dtype | None,
) -> Shape | None:
    """Return the shape of a convolution, or None where PyTorch should do it (or say what is wrong with it)."""
    if not suits(input, weight) or input.ndim != 4 or isinstance(padding, str) or input.dtype != weight.dtype:
        return None
    size, kernel = (input.shape[2], input.shape[3]), (weight.shape[2], weight.shape[3])
    shape = Shape(size, kernel, pair(stride), pair(padding), pair(dilation), groups, products)
    fits = input.shape[1] == weight.shape[1] * groups and min(shape.outputs()) >= 1
    return shape if fits else None
