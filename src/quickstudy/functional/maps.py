"""Convolution, max-pooling and batch moments of maps (S, C, H, W) on CPUs, with channels last in memory at any depth.

PyTorch's own rules for these operators under vmap copy whole maps between layouts and pool and reduce in the slow one.
Here a batch of T tasks is one map (S, T x C, H, W) whose T x C channels come last, so that each operator is one call of
its fastest kernel. Each Function's derivative is made of the Functions of this file, so derivatives of any order are
right and as fast.

Convolution y = x * w is bilinear: with a cotangent g, <g, x * w> is linear in each of g, x and w, and its three partial
derivatives (called `output`, `input` and `weight` below) are each other's derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LAST = torch.channels_last


def suits(*tensors: Tensor) -> bool:
    """Return whether these operators should run: on a CPU, and not inside torch.compile, which fuses its own."""
    return not torch.compiler.is_compiling() and all(t.device.type == "cpu" and t.is_floating_point() for t in tensors)


def _apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    return function.apply(*args)  # type: ignore[no-untyped-call]


def _merged(x: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Return (S, T x C, H, W), channels last, of a map with its task dimension at `dim` (None: the same for all)."""
    x = x.unsqueeze(1).expand(-1, tasks, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    return x.flatten(1, 2).contiguous(memory_format=LAST)


def _stacked(w: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Return (T x O, ...) of (O, ...) with its task dimension at `dim`."""
    w = w.expand(tasks, *w.shape) if dim is None else w.movedim(dim, 0)
    return w.flatten(0, 1)


def _unflatten(x: Tensor, dim: int, tasks: int) -> Tensor:
    return x.reshape(*x.shape[:dim], tasks, -1, *x.shape[dim + 1 :])


def _split(x: Tensor, tasks: int) -> Tensor:
    """Return (S, T, C, H, W), a view."""
    return _unflatten(x, 1, tasks)


# Not tuples: functorch would take them apart, number by number, at every call.


@dataclass(frozen=True)
class _Shape:
    """What a convolution needs besides its tensors."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def times(self, tasks: int) -> _Shape:
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

    def backward(self, g: Tensor, x: Tensor, w: Tensor, which: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
        args = ([0], self.stride, self.padding, self.dilation, False, [0, 0], self.groups, (*which, False))
        gx, gw, _ = torch.ops.aten.convolution_backward(g.contiguous(memory_format=LAST), x, w, *args)
        return gx, gw


def _empty(like: Tensor, *shape: int) -> Tensor:
    # Only its shape and layout are looked at; memory that is never touched costs nothing.
    return torch.empty(shape, dtype=like.dtype, memory_format=LAST)


class _Bilinear(torch.autograd.Function):
    """One of the three partial derivatives; subclasses say which."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, b, ctx.shape = inputs[:3]
        ctx.save_for_backward(a, b)


class _Output(_Bilinear):
    """x (S, C, H, W), w (O, C / groups, k, l), bias (O,) or None -> y."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, shape: _Shape, bias: Tensor | None) -> Tensor:
        x, w = x.contiguous(memory_format=LAST), w.contiguous(memory_format=LAST)
        return torch.conv2d(x, w, bias, shape.stride, shape.padding, shape.dilation, shape.groups)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        return (
            _apply(_Input, g, w, ctx.shape) if ctx.needs_input_grad[0] else None,
            _apply(_Weight, g, x, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
            g.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None,
        )

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], x: Tensor, w: Tensor, shape: _Shape, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        tasks = info.batch_size
        if dims[0] is not None and dims[1] is None and dims[3] is None:
            # One net for all tasks: their rows are just more rows.
            y = _apply(_Output, x.movedim(dims[0], 0).flatten(0, 1), w, shape, bias)
            return _unflatten(y, 0, tasks), 0
        w, bias = _stacked(w, dims[1], tasks), None if bias is None else _stacked(bias, dims[3], tasks)
        return _split(_apply(_Output, _merged(x, dims[0], tasks), w, shape.times(tasks), bias), tasks), 1


class _Input(_Bilinear):
    """g (S, O, h, v), w -> the cotangent of x."""

    @staticmethod
    def forward(g: Tensor, w: Tensor, shape: _Shape) -> Tensor:
        x = _empty(g, len(g), w.shape[1] * shape.groups, *shape.size)
        return shape.backward(g, x, w.contiguous(memory_format=LAST), (True, False))[0]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        g, w = ctx.saved_tensors
        return (
            _apply(_Output, v, w, ctx.shape, None) if ctx.needs_input_grad[0] else None,
            _apply(_Weight, g, v, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], g: Tensor, w: Tensor, shape: _Shape) -> tuple[Tensor, int]:
        tasks = info.batch_size
        if dims[0] is not None and dims[1] is None:
            x = _apply(_Input, g.movedim(dims[0], 0).flatten(0, 1), w, shape)
            return _unflatten(x, 0, tasks), 0
        w = _stacked(w, dims[1], tasks)
        return _split(_apply(_Input, _merged(g, dims[0], tasks), w, shape.times(tasks)), tasks), 1


class _Weight(_Bilinear):
    """g, x -> the cotangent of w."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, shape: _Shape) -> Tensor:
        w = _empty(g, g.shape[1], x.shape[1] // shape.groups, *shape.kernel)
        return shape.backward(g, x.contiguous(memory_format=LAST), w, (False, True))[1]

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Any, ...]:
        g, x = ctx.saved_tensors
        return (
            _apply(_Output, x, u, ctx.shape, None) if ctx.needs_input_grad[0] else None,
            _apply(_Input, g, u, ctx.shape) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], g: Tensor, x: Tensor, shape: _Shape) -> tuple[Tensor, int]:
        tasks = info.batch_size
        w = _apply(_Weight, _merged(g, dims[0], tasks), _merged(x, dims[1], tasks), shape.times(tasks))
        return _unflatten(w, 0, tasks), 0


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """As `torch.nn.functional.conv2d`."""
    if not suits(input, weight) or input.ndim != 4 or isinstance(padding, str) or input.dtype != weight.dtype:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    height, width = input.shape[2:]
    kernel = (weight.shape[2], weight.shape[3])
    shape = _Shape((height, width), kernel, _pair(stride), _pair(padding), _pair(dilation), groups)
    if input.shape[1] != weight.shape[1] * groups or min(shape.outputs()) < 1:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)  # which says what is wrong
    return _apply(_Output, input, weight, shape, bias)  # type: ignore[no-any-return]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


@dataclass(frozen=True)
class _Windows:
    """What max-pooling needs besides its map."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil: bool

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil


class _MaxPool(torch.autograd.Function):
    """x (S, C, H, W) -> maxima (S, C, h, w) and where they were in H x W."""

    @staticmethod
    def forward(x: Tensor, windows: _Windows) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=LAST)
        return torch.ops.aten.max_pool2d_with_indices(x, *windows.arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.windows = inputs[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Any) -> tuple[Any, ...]:
        return _apply(_Scatter, g, *ctx.saved_tensors, ctx.windows), None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor, windows: _Windows) -> tuple[Any, tuple[int, int]]:
        maxima, where = _apply(_MaxPool, _merged(x, dims[0], info.batch_size), windows)
        return (_split(maxima, info.batch_size), _split(where, info.batch_size)), (1, 1)


class _Scatter(torch.autograd.Function):
    """Cotangents (S, C, h, w) to where the maxima were, (S, C, H, W)."""

    @staticmethod
    def forward(g: Tensor, where: Tensor, windows: _Windows) -> Tensor:
        x = _empty(g, *g.shape[:2], *windows.size)
        g = g.contiguous(memory_format=LAST)
        return torch.ops.aten.max_pool2d_with_indices_backward(g, x, *windows.arguments, where)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.windows = inputs[2]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        return _apply(_Gather, v, *ctx.saved_tensors, ctx.windows), None, None

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], g: Tensor, where: Tensor, windows: _Windows
    ) -> tuple[Tensor, int]:
        tasks = info.batch_size
        out = _apply(_Scatter, _merged(g, dims[0], tasks), _merged(where, dims[1], tasks), windows)
        return _split(out, tasks), 1


class _Gather(torch.autograd.Function):
    """Values (S, C, H, W) from where the maxima were, (S, C, h, w)."""

    @staticmethod
    def forward(v: Tensor, where: Tensor, windows: _Windows) -> Tensor:
        rows, places = (t.permute(0, 2, 3, 1).contiguous().flatten(1, 2) for t in (v, where))
        return rows.gather(1, places).reshape(len(v), *where.shape[2:], -1).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.windows = inputs[2]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        return _apply(_Scatter, g, *ctx.saved_tensors, ctx.windows), None, None

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], v: Tensor, where: Tensor, windows: _Windows
    ) -> tuple[Tensor, int]:
        tasks = info.batch_size
        out = _apply(_Gather, _merged(v, dims[0], tasks), _merged(where, dims[1], tasks), windows)
        return _split(out, tasks), 1


def max_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """As `torch.nn.functional.max_pool2d`."""
    if not suits(input) or input.ndim != 4 or return_indices:
        return F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)  # type: ignore[call-overload]
    kernel, height, width = _pair(kernel_size), *input.shape[2:]
    pairs = (kernel, _pair(stride) if stride else kernel, _pair(padding), _pair(dilation))
    return _apply(_MaxPool, input, _Windows((height, width), *pairs, ceil_mode))[0]


class _Moments(torch.autograd.Function):
    """x (S, C, H, W) -> mean and biased variance (C,) over rows and places."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=LAST)
        return torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        slope = to_variance * (2 / count)
        offset = to_mean / count - slope * mean
        return torch.addcmul(offset.reshape(1, -1, 1, 1), x, slope.reshape(1, -1, 1, 1))

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        mean, var = _apply(_Moments, _merged(x, dims[0], info.batch_size))
        return (_unflatten(mean, 0, info.batch_size), _unflatten(var, 0, info.batch_size)), (0, 0)


def moments(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance, each (C,), of maps (S, C, ...)."""
    if not suits(input) or input.ndim != 4:
        var, mean = torch.var_mean(input, (0, *range(2, input.ndim)), correction=0)
        return mean, var
    return _apply(_Moments, input)  # type: ignore[no-any-return]
