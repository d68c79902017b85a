"""Maps (S, C, H, W) of T tasks as one map (S, T x C, H, W) whose T x C channels come last in memory.

PyTorch's own rules under vmap copy whole maps between layouts, and pool and reduce in the slow one. With the channels
of all tasks side by side and last, each operator (`convolution`, `pooling`, `conv_moments`) is one call of its fastest
kernel on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.operators.internals import in_transform

LAST = torch.channels_last


def suits(*tensors: Tensor) -> bool:
    """Return whether these operators should run: on a CPU, and not inside torch.compile, which fuses its own."""
    return not torch.compiler.is_compiling() and all(t.device.type == "cpu" and t.is_floating_point() for t in tensors)


def laid(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a map with its channels last, in a dtype if one is given."""
    if in_transform(x):
        # Inside another vmap (tasks of tasks, or beginnings of a stream), which lays out what it merges itself.
        return x.to(dtype or x.dtype)
    return x.to(dtype=dtype or x.dtype, memory_format=LAST)


def apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    """Return the result of an autograd Function."""
    return function.apply(*args)  # type: ignore[no-untyped-call]


def merged(x: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Return (S, T x C, H, W), channels last, of a map with its task dimension at `dim` (None: the same for all)."""
    x = x.unsqueeze(1).expand(-1, tasks, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    return laid(x.flatten(1, 2))


def stacked(w: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Return (T x O, ...) of (O, ...) with its task dimension at `dim`."""
    w = w.expand(tasks, *w.shape) if dim is None else w.movedim(dim, 0)
    return w.flatten(0, 1)


def unflatten(x: Tensor, dim: int, tasks: int) -> Tensor:
    """Return x with dimension `dim` taken apart into T and the rest, a view."""
    return x.reshape(*x.shape[:dim], tasks, x.shape[dim] // tasks, *x.shape[dim + 1 :])


def split(x: Tensor, tasks: int) -> Tensor:
    """Return (S, T, C, H, W), a view."""
    return unflatten(x, 1, tasks)


def empty(dtype: torch.dtype, *shape: int) -> Tensor:
    """Return a map whose shape and layout alone will be read: memory that is never touched costs nothing."""
    return torch.empty(shape, dtype=dtype, memory_format=LAST)


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Return a number for each of height and width."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
