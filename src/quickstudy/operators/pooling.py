"""Max-pooling and moments, differentiable to any order, of maps with channels last (see `operators.channels_last`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.operators.channels_last import apply, empty, laid, merged, pair, split, suits, unflatten


@dataclass(frozen=True)
class Windows:
    """The sizes that max-pooling needs besides its map."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil: bool = False

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil


class MaxPool(torch.autograd.Function):
    """x (S, C, H, W) -> maxima (S, C, h, w) and where they were in H x W."""

    @staticmethod
    def forward(x: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        x = laid(x)
        return torch.ops.aten.max_pool2d_with_indices(x, *windows.arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.windows = inputs[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Any) -> tuple[Any, ...]:
        return apply(Scatter, g, *ctx.saved_tensors, ctx.windows), None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor, windows: Windows) -> tuple[Any, tuple[int, int]]:
        maxima, where = apply(MaxPool, merged(x, dims[0], info.batch_size), windows)
        return (split(maxima, info.batch_size), split(where, info.batch_size)), (1, 1)


class Scatter(torch.autograd.Function):
    """Cotangents (S, C, h, w) to where the maxima were, (S, C, H, W)."""

    @staticmethod
    def forward(g: Tensor, where: Tensor, windows: Windows) -> Tensor:
        x = empty(g.dtype, *g.shape[:2], *windows.size)
        g = laid(g)
        return torch.ops.aten.max_pool2d_with_indices_backward(g, x, *windows.arguments, where)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.windows = inputs[2]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        return apply(Gather, v, *ctx.saved_tensors, ctx.windows), None, None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], g: Tensor, where: Tensor, windows: Windows) -> tuple[Tensor, int]:
        tasks = info.batch_size
        out = apply(Scatter, merged(g, dims[0], tasks), merged(where, dims[1], tasks), windows)
        return split(out, tasks), 1


class Gather(torch.autograd.Function):
    """Values (S, C, H, W) from where the maxima were, (S, C, h, w)."""

    @staticmethod
    def forward(v: Tensor, where: Tensor, windows: Windows) -> Tensor:
        rows, places = (t.permute(0, 2, 3, 1).contiguous().flatten(1, 2) for t in (v, where))
        return rows.gather(1, places).reshape(len(v), *where.shape[2:], -1).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.windows = inputs[2]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        return apply(Scatter, g, *ctx.saved_tensors, ctx.windows), None, None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], v: Tensor, where: Tensor, windows: Windows) -> tuple[Tensor, int]:
        tasks = info.batch_size
        out = apply(Gather, merged(v, dims[0], tasks), merged(where, dims[1], tasks), windows)
        return split(out, tasks), 1


def max_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Do what `torch.nn.functional.max_pool2d` does."""
    if not suits(input) or input.ndim != 4 or return_indices:
        return F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)  # type: ignore[call-overload]
    kernel, height, width = pair(kernel_size), *input.shape[2:]
    pairs = (kernel, pair(stride) if stride else kernel, pair(padding), pair(dilation))
    return apply(MaxPool, input, Windows((height, width), *pairs, ceil_mode))[0]


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance (C,) of a map with channels last, in 32 bits at least."""
    if x.dtype in (torch.float32, torch.float64):
        return torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)  # type: ignore[no-any-return]
    # Averages in 32 bits ask for moments in 32 bits.
    averages = torch.zeros(2, x.shape[1])
    return torch.ops.aten.batch_norm_update_stats(x, averages[0], averages[1], 0.0)  # type: ignore[no-any-return]


class Moments(torch.autograd.Function):
    """x (S, C, H, W) -> mean and biased variance (C,) over rows and places."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return channel_moments(laid(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        slope = to_variance * (2 / count)
        offset, slope = ((to_mean / count - slope * mean).to(x.dtype), slope.to(x.dtype))
        return torch.addcmul(offset.reshape(1, -1, 1, 1), x, slope.reshape(1, -1, 1, 1))

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        mean, var = apply(Moments, merged(x, dims[0], info.batch_size))
        return (unflatten(mean, 0, info.batch_size), unflatten(var, 0, info.batch_size)), (0, 0)


def moments(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance, each (C,), of maps (S, C, ...)."""
    if not suits(input) or input.ndim != 4:
        var, mean = torch.var_mean(input, (0, *range(2, input.ndim)), correction=0)
        return mean, var
    return apply(Moments, input)  # type: ignore[no-any-return]
