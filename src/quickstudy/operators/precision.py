"""In which dtype do nets multiply?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch

matmul_dtype: ContextVar[torch.dtype | None] = ContextVar("matmul_dtype", default=None)
"""The dtype in which nets multiply matrices and convolve, such as torch.bfloat16; None is that of their tensors.

It does what `torch.autocast` is for, which does not work inside `torch.func.grad`. Parameters and their updates, norms,
statistics and losses keep their precision. Each thread has its own value; `matmuls_in` sets it for a while.
"""


@contextlib.contextmanager
def matmuls_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Let nets multiply matrices and convolve in a dtype (see `matmul_dtype`), in this thread."""
    token = matmul_dtype.set(dtype)
    try:
        yield
    finally:
        matmul_dtype.reset(token)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that multiplies in the present dtype wherever it is called.

    Whatever runs a net in backward needs it: autograd works for a GPU in a thread of its own.
    """
    dtype = matmul_dtype.get()

    def inner(*args: Any) -> Any:
        with matmuls_in(dtype):
            return function(*args)

    return inner
