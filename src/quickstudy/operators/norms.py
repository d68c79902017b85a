"""The norms that take statistics of rows, or keep running averages of them: these a policy covers."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator
from typing import Any, cast
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import nn

from quickstudy.operators.internals import AnyBatchNorm, AnyInstanceNorm, AnyNorm, own_buffers
from quickstudy.operators.traces import modules

BATCH_NORMS = (AnyBatchNorm,)

_CALLED = ("batch_norm",)
_HOMES = (torch, F)
_FOUND: WeakSet[nn.Module] = WeakSet()


def uses_batch_statistics(net: nn.Module) -> bool:
    """Return whether a net has layers for which a batch norm policy matters.

    These are PyTorch's batch norms of any kind and classes made from them, instance norms that keep running averages,
    and modules whose code calls `torch.nn.functional.batch_norm`, unless the norm's scale is a buffer and thus fixed.
    """
    return any(_keeps(module) for module in modules(net)) or net in _FOUND


def found(net: nn.Module) -> None:
    """Take note that a net has called batch norm, however it did."""
    if net not in _FOUND:
        _FOUND.add(net)


def _keeps(module: nn.Module) -> bool:
    if isinstance(module, AnyNorm):
        return not isinstance(module, AnyInstanceNorm) or module.track_running_stats
    return _calls(cast(Any, type(module))) and "weight" not in own_buffers(module)


@functools.cache
def _calls(cls: Any) -> bool:
    """Return whether the code of a class calls batch norm itself, or a function of its file that does."""
    if cls.__module__.startswith("torch.nn."):
        return False
    seen: set[Any] = set()
    own = [value for base in cls.__mro__ if base not in nn.Module.__mro__ for value in vars(base).values()]
    return any(_reaches(value, seen) for value in own)


def _reaches(value: Any, seen: set[Any]) -> bool:
    function = getattr(value, "__func__", value)
    if not isinstance(function, types.FunctionType) or function in seen or function.__module__.startswith("torch."):
        return False
    seen.add(function)
    for code in _codes(function.__code__):
        for target in _targets(code, function.__globals__):
            if any(target is getattr(home, name) for home in _HOMES for name in _CALLED):
                return True
            near = isinstance(target, types.FunctionType) and target.__module__ == function.__module__
            if near and _reaches(target, seen):
                return True
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _targets(code: types.CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """Yield what names in code stand for, such as `F.batch_norm`, as far as that is known without running it."""
    now: Any = None
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            now = names.get(step.argval)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            now = getattr(now, step.argval, None) if isinstance(now, types.ModuleType) else None
        elif step.opname != "CACHE":
            now = None
        if now is not None:
            yield now
